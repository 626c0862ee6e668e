"""Tables say what was obtained and what was not, and nothing else."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lwdna.errors import ConfigError, DataError
from lwdna.results.layouts import LAYOUTS
from lwdna.results.parts import Part
from lwdna.results.printed import read_paper
from lwdna.results.rendering import to_markdown, write_table
from lwdna.results.tables import make_table
from lwdna.tasks.kinds import KINDS, TaskKind

PAPER = Path(__file__).parents[2] / "paper"
SCALE = "Demo at small scale."
NOTHING = pd.DataFrame()


def reproducing(network: str, dataset: str, **more: Any) -> dict[str, Any]:
    """An experiment with a network of the paper on its dataset."""
    return {
        "test": [dataset],
        "network": {"name": network, "dataset": dataset},
        "label": network,
        "paper": {"dataset": dataset, "network": network},
        **more,
    }


RESNET56 = reproducing(
    "ResNet56", "cifar10", tables=[1], methods=["baseline", "baseline-kd", "lw-dna"]
)
DIGITS = {
    "tables": [1, 3],
    "test": ["digits"],
    "network": {"name": "ResNet14", "dataset": "digits", "width": 0.5},
    "label": "ResNet14 x0.5",
    "methods": ["baseline", "lw-dna"],
    "shrink": {"rho": 0.2, "tau": 0.45},
}
DNCNN = {
    "tables": [2],
    "test": ["bsd68", "div2k-valid"],
    "network": {"name": "DnCNN"},
    "label": "DnCNN",
    "paper": {"network": "DnCNN"},
    "methods": ["baseline", "lw-dna"],
}
MOBILENET = reproducing(
    "MobileNetV1",
    "tiny-imagenet",
    tables=[3],
    methods=["lw-dna"],
    shrink={"rho": 0.1, "tau": 0.45},
)


def run(experiment: str, method: str, seed: int = 0, **values: Any) -> dict[str, Any]:
    row = {"experiment": experiment, "method": method, "seed": seed, "test_set": "digits"}
    empty = {"top1_error_percent": None, "psnr_db": None, "ssim": None}
    return row | empty | {"flops": 2_000_000, "params": 40_000} | values


def table(
    name: int | str,
    runs: list[dict[str, Any]],
    experiments: dict[str, Any],
    complexity: pd.DataFrame = NOTHING,
    scale: str = SCALE,
) -> pd.DataFrame:
    return make_table(
        name,
        paper=read_paper(PAPER / f"table{name}.csv") if name in (1, 2, 3) else None,
        metrics=pd.DataFrame(runs),
        complexity=complexity,
        experiments=experiments,
        scale=scale,
    )


def both(name: int | str, frame: pd.DataFrame, scale: str = "") -> str:
    """A table for people: what was run, and the paper's rows below."""
    return "".join(to_markdown(name, frame, scale, part=part) for part in Part)


def rows(frame: pd.DataFrame, **keys: str) -> list[dict[Any, Any]]:
    return [r for r in frame.to_dict("records") if all(r[k] == v for k, v in keys.items())]


def row(frame: pd.DataFrame, **keys: str) -> dict[Any, Any]:
    (found,) = rows(frame, **keys)
    return found


@pytest.mark.parametrize("number", [1, 2, 3])
def test_without_a_run_every_row_of_the_paper_is_there_and_says_not_run(number: int) -> None:
    frame = table(number, [], {})
    with (PAPER / f"table{number}.csv").open() as file:
        printed = list(csv.DictReader(file))
    measure = LAYOUTS[number].measures[0].column
    if number == 2:
        values = [p[f"psnr_{name}_db"] for p in printed for name in ("bsd68", "div2k")]
    else:
        values = [p["top1_error_percent"] for p in printed]
    assert frame[f"{measure}_paper"].tolist() == values
    assert set(frame["status"]) == {"not run"}
    assert set(frame["n"]) == {0}
    assert frame[[f"{measure}_mean", f"{measure}_std", "flops_g", "params_m"]].isna().all(axis=None)
    text = both(number, frame)
    assert text.count("| not run |") >= len(values)
    assert f"0 of {len(values)} results obtained here" in text
    assert "±" not in "".join(re.findall(r"^\|.*$", text, re.MULTILINE))


def test_order_is_the_papers() -> None:
    frame = table(1, [], {})
    printed = read_paper(PAPER / "table1.csv")
    for column in ("dataset", "network", "method"):
        assert frame[column].tolist() == printed[column].tolist()


def test_flops_ratios_are_those_printed_in_table_1_of_the_supplement() -> None:
    frame = table(1, [], {})
    for dataset, network, method, ratio in (
        ("imagenet", "ResNet50", "LW-DNA", "90.60"),
        ("imagenet", "ResNet50", "MetaPruning", "72.86"),
        ("imagenet", "MobileNetV3-small", "LW-DNA", "98.86"),
        ("tiny-imagenet", "MobileNetV1", "LW-DNA", "96.23"),
        ("tiny-imagenet", "MobileNetV2", "DHP KD", "96.34"),
        ("cifar100", "DenseNet40", "LW-DNA", "90.93"),
        ("cifar10", "ResNet56", "LW-DNA", "99.06"),
    ):
        found = row(frame, dataset=dataset, network=network, method=method)
        assert f"{found['paper_flops_ratio_percent']:.2f}" == ratio
    text = both(1, frame)
    assert "| 0.0460 / 96.23 |" in text
    assert "| 4.1177 / 100.0 |" in text
    assert row(frame, method="MetaPruning")["paper_params_m"] == ""


def test_mean_deviation_difference_and_ratio() -> None:
    def ours(method: str, seed: int, error: float, flops: int, params: int) -> dict[str, Any]:
        values = {"top1_error_percent": error, "flops": flops, "params": params}
        return run("r56", method, seed, test_set="cifar10", **values)

    runs = [ours("lw-dna", s, e, 126_200_000, 530_000 + 3000 * s) for s, e in enumerate((5, 6, 8))]
    runs.append(ours("baseline", 0, 5.70, 127_400_000, 856_000))
    frame = table(1, runs, {"r56": RESNET56}, scale="")
    shrunk = row(frame, experiment="r56", method="LW-DNA")
    assert shrunk["n"] == 3
    assert shrunk["seeds"] == "0 1 2"
    assert shrunk["top1_error_percent_mean"] == pytest.approx(19 / 3, abs=1e-6)
    assert shrunk["top1_error_percent_std"] == pytest.approx((7 / 3) ** 0.5, abs=1e-6)
    assert shrunk["top1_error_percent_difference"] == pytest.approx(19 / 3 - 5.49, abs=1e-6)
    assert shrunk["flops_g"] == 0.1262
    assert shrunk["flops_ratio_percent"] == pytest.approx(100 * 126.2 / 127.4, abs=1e-4)
    assert shrunk["flops_vs_paper"] == "="
    assert shrunk["params_m"] == 0.533
    assert shrunk["params_vs_paper"] == "-0.003"
    baseline = row(frame, experiment="r56", method="Baseline")
    assert baseline["n"] == 1
    assert pd.isna(baseline["top1_error_percent_std"])
    assert baseline["top1_error_percent_difference"] == -0.04
    missing = row(frame, experiment="r56", method="Baseline KD")
    assert missing["status"] == "not run"
    assert missing["top1_error_percent_paper"] == "5.73"
    text = both(1, frame)
    assert "| 6.33 ± 1.53 (n=3) | 5.49 | +0.84 | 0.1262 / 99.06 (=) | 0.1262 / 99.06 |" in text
    assert "| 5.70 (n=1) | 5.74 | -0.04 | 0.1274 / 100.0 (=) |" in text
    assert "2 of 53 results obtained here" in text
    assert "Demo" not in text


def test_demo_rows_come_first_under_their_own_heading_and_label() -> None:
    runs = [run("digits", "baseline", top1_error_percent=3.0)]
    runs += [run("digits", "teacher", top1_error_percent=1.0)]
    frame = table(1, runs, {"r56": RESNET56, "digits": DIGITS})
    assert frame["section"].tolist() == ["ours"] * 2 + ["paper"] * 53
    assert frame["method"].tolist()[:2] == ["Baseline", "LW-DNA"]
    assert frame["scale"].tolist()[:3] == [SCALE, "", ""]
    assert frame["top1_error_percent_paper"].tolist()[:2] == ["", ""]
    text = both(1, frame, SCALE)
    demo, paper = text.split("## Rows of the paper")
    assert f"**{SCALE}**" in demo
    assert "## Demo: runs that reproduce no row of the paper" in demo
    assert "| Method | Top-1 error [%] | FLOPs [G] / ratio [%] | Params [M] / ratio [%] |" in demo
    assert "| digits | ResNet14 x0.5 | Baseline | 3.00 (n=1) | 0.00200 / 100.0 |" in demo
    assert "|  |  | LW-DNA | not run | not run | not run |" in demo
    assert "ResNet14" not in paper


def test_ratio_without_a_baseline_is_left_open() -> None:
    runs = [run("digits", "lw-dna", top1_error_percent=3.0)]
    frame = table(1, runs, {"digits": DIGITS})
    found = row(frame, section="ours", method="LW-DNA")
    assert pd.isna(found["flops_ratio_percent"])
    assert "| 0.00200 / - |" in both(1, frame)


def test_counts_of_the_baselines_are_known_without_training() -> None:
    complexity = pd.DataFrame(
        {
            "network": ["ResNet56", "MobileNetV1"],
            "dataset": ["cifar10", "tiny-imagenet"],
            "flops": [127_400_100, 47_900_000],
            "params": [855_770, 3_412_000],
        }
    )
    frame = table(1, [], {}, complexity)
    known = row(frame, network="ResNet56", method="Baseline KD")
    assert (known["status"], known["flops_g"], known["flops_vs_paper"]) == (
        "not run",
        0.1274001,
        "=",
    )
    other = row(frame, network="MobileNetV1", method="Baseline")
    assert (other["flops_vs_paper"], other["params_vs_paper"]) == ("+0.0001", "=")
    assert pd.isna(row(frame, network="ResNet56", method="LW-DNA")["flops_g"])
    assert pd.isna(row(frame, network="MobileNetV1", method="DHP KD")["flops_g"])
    text = both(1, frame)
    assert "| not run | 5.74 | 0.1274 / 100.0 (=) |" in text
    assert "| not run | 51.87 | 0.0479 / 100.0 (+0.0001) |" in text
    assert "| not run | 23.28 | not counted |" in text


def test_table_1_says_what_autoslims_printed_flops_are() -> None:
    resnet50 = {"network": ["ResNet50"], "dataset": ["imagenet"]}
    counts = pd.DataFrame(resnet50 | {"flops": [4_117_734_400], "params": [25_557_032]})
    (said,) = re.findall("- (AutoSlim's .*)", both(1, table(1, [], {}, counts)))
    assert said == (
        "AutoSlim's 3.0000 G count convolutions and the classifier alone: 3,004,547,840 "
        "multiply-accumulates of the network that its authors published (`autoslim-3005M`), with "
        "23.135 M parameters without batch norm. By this table's rule it has 3,028,404,960 FLOPs, "
        "73.55 % of the Baseline's, not 72.86 %, and 23,185,064 parameters."
    )
    # Without a count of the baseline there is nothing to compare it with.
    for number, complexity in ((1, NOTHING), (2, counts), (4, counts)):
        assert "AutoSlim's" not in both(number, table(number, [], {}, complexity))


def test_table_2_compares_each_test_set() -> None:
    runs = [
        run("dn", "lw-dna", test_set="bsd68", psnr_db=25.0, flops=5.43e9, params=330_000),
        run("dn", "lw-dna", test_set="extra", psnr_db=30.0, flops=5.43e9, params=330_000),
    ]
    complexity = pd.DataFrame(
        [{"network": "DnCNN", "dataset": None, "flops": 9.104e9, "params": 556_000}]
    )
    frame = table(2, runs, {"dn": DNCNN}, complexity)
    keys = {"network": "DnCNN", "method": "LW-DNA"}
    bsd68 = row(frame, **keys, test_set="bsd68")
    assert bsd68["psnr_db_difference"] == 0.1
    assert bsd68["flops_ratio_percent"] == pytest.approx(100 * 5.43 / 9.104, abs=1e-4)
    assert row(frame, **keys, test_set="div2k-valid")["status"] == "not run"
    assert row(frame, **keys, test_set="extra")["psnr_db_paper"] == ""
    assert row(frame, network="DnCNN", method="Baseline", test_set="bsd68")["flops_vs_paper"] == "="
    text = both(2, frame)
    assert "without batch norm" in text
    assert "| BSD68 | 25.00 (n=1) | 24.9 | +0.10 | 5.43 / 59.64 (=) |" in text
    assert "1 of 8 results obtained here" in text


def test_table_3_compares_equal_rho_and_tau_only() -> None:
    runs = [run("m", "lw-dna", test_set="tiny-imagenet", top1_error_percent=46.0)]
    runs += [run("digits", "lw-dna", top1_error_percent=3.0)]
    other = MOBILENET | {"shrink": {"rho": 0.3, "tau": 0.45}, "label": "MobileNetV1 0.3"}
    frame = table(3, runs, {"m": MOBILENET, "digits": DIGITS, "other": other})
    assert row(frame, experiment="m")["top1_error_percent_paper"] == "46.66"
    assert row(frame, experiment="m")["top1_error_percent_difference"] == -0.66
    assert [r["status"] for r in rows(frame, section="paper")].count("run") == 1
    assert {r["experiment"] for r in rows(frame, section="ours")} == {"digits", "other"}
    text = both(3, frame)
    assert "| ResNet14 x0.5 | digits | 0.2 | 0.45 | 3.00 (n=1) | 0.00200 |" in text
    assert "| 46.00 (n=1) | 46.66 | -0.66 |" in text


def test_table_4_has_no_numbers_of_the_paper() -> None:
    demo = {"tables": [4], "test": ["photographs"], "network": {"name": "EDSR"}, "label": "EDSR x"}
    full = demo | {"paper": {"dataset": "div2k", "network": "EDSR"}, "test": ["set5"]}
    runs = [run("demo", "lw-dna", test_set="photographs", psnr_db=25.0, ssim=0.81)]
    methods = {"methods": ["lw-dna"]}
    frame = table(4, runs, {"full": full | methods, "demo": demo | methods})
    assert frame["section"].tolist() == ["ours", "paper"]
    assert set(frame["psnr_db_paper"]) == {"not in the supplied paper"}
    text = both(4, frame, SCALE)
    assert "| EDSR x | LW-DNA | photographs | 25.00 (n=1) | 0.8100 (n=1) | 0.00200 / - |" in text
    assert "| EDSR | LW-DNA | set5 | not run | not run | not in the supplied paper |" in text
    assert "Not run: no experiment" in both(4, table(4, [], {}))


def test_a_method_the_paper_lacks_is_not_lost() -> None:
    experiment = RESNET56 | {"paper": {"dataset": "imagenet", "network": "ResNet50"}}
    experiment |= {"test": ["imagenet"]}
    runs = [run("r", "baseline-kd", test_set="imagenet", top1_error_percent=22.0)]
    frame = table(1, runs, {"r": experiment})
    networks = rows(frame, network="ResNet50")
    assert [r["method"] for r in networks][-1] == "Baseline KD"
    assert networks[-1]["top1_error_percent_mean"] == 22.0
    assert networks[-1]["top1_error_percent_paper"] == ""
    assert "0 of 53 results obtained here" in both(1, frame)


def test_a_dataset_of_ones_own_has_its_own_name() -> None:
    network = {"name": "ResNet8", "dataset": "cifar10", "options": {"num_classes": 3}}
    mine = {**DIGITS, "network": network, "train": "mine", "test": ["mine"], "label": "ResNet8"}
    text = both(1, table(1, [run("m", "baseline", test_set="mine")], {"m": mine}))
    assert "| mine | ResNet8 | Baseline |" in text


def test_another_test_set_is_not_compared_with_the_papers() -> None:
    runs = [run("r", "lw-dna", test_set="cifar10-v2", top1_error_percent=12.0)]
    frame = table(1, runs, {"r": RESNET56 | {"test": ["cifar10-v2"]}})
    keys = {"network": "ResNet56", "method": "LW-DNA"}
    assert row(frame, **keys, test_set="cifar10")["status"] == "not run"
    other = row(frame, **keys, test_set="cifar10-v2")
    assert (other["status"], other["top1_error_percent_paper"]) == ("run", "")
    assert "| CIFAR10, tested on cifar10-v2 |" in both(1, frame)


def test_two_experiments_for_one_row_are_both_shown() -> None:
    second = RESNET56 | {"label": "ResNet56, magnitude"}
    runs = [
        run(name, "lw-dna", test_set="cifar10", top1_error_percent=error)
        for name, error in (("a", 5.0), ("b", 6.0))
    ]
    frame = table(1, runs, {"a": RESNET56, "b": second})
    found = rows(frame, network="ResNet56", method="LW-DNA")
    assert [r["top1_error_percent_mean"] for r in found] == [5.0, 6.0]
    assert "ResNet56 (ResNet56, magnitude)" in both(1, frame)
    assert "1 of 53 results obtained here" in both(1, frame)


def test_a_rival_by_its_own_protocol_is_in_its_own_row_alone() -> None:
    """Two experiments on one network of the paper, for different methods of it."""
    ours = reproducing("ResNet50", "imagenet", tables=[1], methods=["baseline", "lw-dna"])
    rival = ours | {"methods": ["autoslim"]}
    runs = [run("rival", "autoslim", test_set="imagenet", top1_error_percent=24.5)]
    frame = table(1, runs, {"ours": ours, "rival": rival})
    there = rows(frame, network="ResNet50", dataset="imagenet")
    methods = [entry["method"] for entry in there]
    assert len(methods) == len(set(methods)) and {"MutualNet", "MetaPruning"} < set(methods)
    by_method = {entry["method"]: entry for entry in there}
    assert [by_method[name]["experiment"] for name in ("Baseline", "LW-DNA", "AutoSlim")] == [
        "ours",
        "ours",
        "rival",
    ]
    assert by_method["AutoSlim"]["top1_error_percent_difference"] == 0.5
    assert by_method["AutoSlim"]["label"] == ""


def _paths(folder: Path, name: str) -> dict[str, Path]:
    return {
        "csv": folder / f"{name}.csv",
        "markdown": folder / f"{name}.md",
        "html": folder / f"{name}.html",
        "latex": folder / f"{name}.tex",
    }


def test_files_are_the_same_bytes_twice_and_a_title_changes_only_the_markdown(
    tmp_path: Path,
) -> None:
    runs = [run("digits", "baseline", s, top1_error_percent=3.0 + s / 3) for s in range(3)]
    for name, order in (("a", runs), ("b", runs[::-1])):
        frame = table(1, order, {"digits": DIGITS})
        write_table(1, frame, SCALE, **_paths(tmp_path, name))
    write_table(1, frame, **_paths(tmp_path, "c"), title="My title")
    assert len({(tmp_path / f"{name}.csv").read_bytes() for name in "abc"}) == 1
    assert (tmp_path / "a.md").read_bytes() == (tmp_path / "b.md").read_bytes()
    assert (tmp_path / "c.md").read_text().startswith("# My title\n")
    read = pd.read_csv(tmp_path / "a.csv")
    assert read["top1_error_percent_mean"][0] == pytest.approx(10 / 3, abs=1e-6)
    assert "<h1>My title</h1>" in (tmp_path / "c.html").read_text()
    assert len(list(tmp_path.iterdir())) == 12


def test_errors_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no table 6"):
        make_table(6, paper=None, metrics=NOTHING, complexity=NOTHING, experiments={})
    wrong = RESNET56 | {"paper": {"dataset": "cifar10", "network": "Resnet56"}}
    with pytest.raises(ConfigError, match="did you mean 'cifar10 / ResNet56'"):
        table(1, [], {"r": wrong})
    twice = [run("digits", "baseline", top1_error_percent=3.0)] * 2
    with pytest.raises(DataError, match="experiment digits, method baseline, seed 0"):
        table(1, twice, {"digits": DIGITS})
    with pytest.raises(DataError, match="lacks the column"):
        table(1, [{"experiment": "digits"}], {"digits": DIGITS})
    with pytest.raises(DataError, match="table9"):
        read_paper(tmp_path / "table9.csv")


def test_methods_are_compared_with_baseline_kd_seed_by_seed() -> None:
    errors = {
        "baseline": (8.0, 9.0, 7.5),
        "baseline-kd": (6.0, 7.0, 6.5),
        "uniform": (7.0, 8.5, 6.6),
        "random": (6.5, 6.5, 6.6),
    }
    runs = [
        run("digits", method, seed=seed, top1_error_percent=error)
        for method, values in errors.items()
        for seed, error in enumerate(values)
    ]
    runs.append(run("digits", "lw-dna", seed=2, top1_error_percent=6.0))
    digits = DIGITS | {"methods": [*errors, "lw-dna"]}
    frame = table(1, runs, {"digits": digits})

    def versus(method: str) -> list[Any]:
        found = row(frame, section="ours", method=method)
        parts = ("versus", "versus_low", "versus_high", "pairs")
        return [found[f"top1_error_percent_{part}"] for part in parts]

    assert versus("Uniform") == [pytest.approx(0.866667), 0.1, 1.5, 3]
    assert versus("Baseline") == [pytest.approx(5 / 3), 1, 2, 3]
    assert versus("LW-DNA")[0] == -0.5
    assert pd.isna(versus("LW-DNA")[1])
    assert versus("LW-DNA")[3] == 1
    assert versus("Baseline KD")[3] == 0
    text = both(1, frame, SCALE)
    assert "Against Baseline KD [95 %]" in text
    assert "| +0.87 [+0.10, +1.50] * |" in text
    assert re.search(r"Random \| 6\.53 .*\| \+0\.03 \[-0\.50, \+0\.50\] \|", text)
    assert re.search(r"LW-DNA \| 6\.00 \(n=1\) .*\| -0\.50 \|", text)
    assert "Uniform: as LW-DNA, but every layer keeps the same share" in text


def test_without_distillation_all_are_compared_with_the_baseline() -> None:
    runs = [
        run("dn", method, seed=seed, test_set="bsd68", psnr_db=psnr + seed)
        for method, psnr in (("baseline", 24.0), ("dhp", 24.5))
        for seed in (0, 1)
    ]
    experiment = {"tables": [2], "label": "DnCNN", "methods": ["baseline", "dhp"]}
    experiment |= {"network": {"name": "DnCNN"}, "test": ["bsd68"]}
    text = both(2, table(2, runs, {"dn": experiment}))
    assert "Against Baseline [95 %]" in text
    assert "| +0.50 [+0.50, +0.50] |" in text  # of two seeds, which prove nothing
    assert "DHP: the DHP version trained without knowledge distillation" in text


def test_a_bound_just_below_zero_is_not_printed_as_above_it() -> None:
    """A star beside ``+0.00`` would contradict what it stands for."""
    runs = [
        run("digits", method, seed=seed, top1_error_percent=7.0 + change)
        for method, changes in (("baseline-kd", (0, 0, 0)), ("uniform", (-0.5, -0.2, -0.004)))
        for seed, change in enumerate(changes)
    ]
    digits = DIGITS | {"methods": ["baseline-kd", "uniform"]}
    text = both(1, table(1, runs, {"digits": digits}), SCALE)
    assert "| -0.23 [-0.50, -0.00] * |" in text


EDSR = {
    "tables": [4],
    "task": {"kind": "super-resolution", "scale": 4},
    "test": ["set5", "set14"],
    "network": {"name": "EDSR"},
    "label": "Small EDSR",
    "methods": ["baseline", "lw-dna"],
}


def test_a_reference_is_the_first_row_of_its_network() -> None:
    runs = [
        run("edsr", method, seed, test_set=test_set, psnr_db=psnr, ssim=0.8)
        for method, psnr in (("baseline", 28.0), ("lw-dna", 29.0))
        for test_set in EDSR["test"]
        for seed in (0, 1)
    ]
    zero = {"flops": 0, "params": 0, "ssim": 0.7}
    runs.append(run("edsr", "bicubic", test_set="set5", psnr_db=27.07, **zero))
    frame = table(4, runs, {"edsr": EDSR})
    assert frame["method"].tolist() == [m for m in ("Bicubic", "Baseline", "LW-DNA") for _ in "ab"]
    found = row(frame, method="Bicubic", test_set="set5")
    assert (found["psnr_db_mean"], found["ssim_mean"]) == (27.07, 0.7)
    assert (found["status"], found["n"], found["seeds"]) == ("run", 1, "")
    # Neither a network's size nor a comparison, and none of the others is compared with it.
    assert pd.isna([found[key] for key in ("flops_g", "params_m", "psnr_db_versus")]).all()
    assert found["psnr_db_pairs"] == 0
    assert row(frame, method="LW-DNA", test_set="set5")["psnr_db_versus"] == 1.0
    assert row(frame, method="Bicubic", test_set="set14")["status"] == "not run"
    text = both(4, frame)
    assert "| Small EDSR | Bicubic | set5 | 27.07 | - | 0.7000 | - |" in text
    assert "|  |  | set14 | not run | - | not run | - | - | - |" in text
    assert "Bicubic: the input, enlarged" in text


def test_a_reference_stands_above_the_rows_of_the_paper_and_is_none_of_them() -> None:
    noisy = DNCNN | {"task": {"kind": "denoising", "sigma": 70}}
    runs = [
        run("dncnn", "noisy-input", test_set=name, psnr_db=12.5, flops=0, params=0)
        for name in noisy["test"]
    ]
    frame = table(2, runs, {"dncnn": noisy}, scale="")
    rows_of_dncnn = frame[frame["network"] == "DnCNN"]
    assert rows_of_dncnn["method"].tolist()[:3] == ["Noisy input", "Noisy input", "Baseline"]
    assert (rows_of_dncnn["method"] == "Noisy input").sum() == 2
    text = both(2, frame)
    assert "0 of 8 results obtained here" in text
    assert "| DnCNN | Noisy input | BSD68 | 12.50 | - | - | - | - | - |" in text
    ratio = row(frame, network="DnCNN", method="LW-DNA", test_set="bsd68")
    assert f"{ratio['paper_flops_ratio_percent']:.2f}" == "59.67"


def test_experiments_of_the_paper_do_not_count_references() -> None:
    edsr = EDSR | {"paper": {"network": "EDSR"}}
    runs = [run("edsr", "bicubic", test_set="set5", psnr_db=27.0, ssim=0.7)]
    text = both(4, table(4, runs, {"edsr": edsr}, scale=""))
    assert "0 of 4 results obtained here" in text and "| Bicubic | set5 | 27.00 |" in text


def test_a_kind_that_the_paper_has_no_table_of_has_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kind = TaskKind(
        "depth.Depth",
        ("range",),
        measures={"psnr": "psnr_db", "worst": "worst_case_error_percent", "delta": "delta_1"},
        store="gray",
        tests="images",
    )
    monkeypatch.setitem(KINDS, "depth-maps", kind)
    mine = {"tables": ["depth-maps"], "test": ["rooms"], "network": {"name": "UNet"}, "label": "U"}
    mine |= {"methods": ["baseline", "lw-dna"], "task": {"kind": "depth-maps"}}
    runs = [
        run("d", method, seed, test_set="rooms", worst_case_error_percent=error, delta_1=0.25)
        for seed in range(3)
        for method, error in (("baseline", 20), ("lw-dna", 10 + seed))
    ]
    frame = table("depth-maps", runs, {"d": mine, "digits": DIGITS})
    assert set(frame["experiment"]) == {"d"} and set(frame["section"]) == {"ours"}
    write_table("depth-maps", frame, SCALE, **_paths(tmp_path, "depth-maps"))
    text = (tmp_path / "depth-maps.md").read_text()
    assert text.startswith("# Depth maps\n")
    head = "| Network | Method | Test set | PSNR [dB] "
    head += "| Worst case error [%] | Against Baseline [95 %] "
    head += "| Delta 1 | Against Baseline [95 %] "
    head += "| FLOPs [G] / ratio [%] | Params [M] / ratio [%] |"
    assert head in text
    assert "|  | LW-DNA | rooms | not run | 11.00 ± 1.00 (n=3) | -9.00 [-10.00" in text
    assert "0.2500 ± 0.0000 (n=3)" in text and "paper's" not in text


def test_what_was_run_stands_apart_from_the_papers_rows(tmp_path: Path) -> None:
    """Of the paper it has the networks of which something ran, and in the CSV every column."""
    runs = [run("digits", "baseline", top1_error_percent=3.0)]
    runs += [run("r56", "lw-dna", test_set="cifar10", top1_error_percent=5.0)]
    experiments = {"digits": DIGITS, "r56": RESNET56}
    for part in Part:
        frame = table(1, runs, experiments)
        write_table(1, frame, SCALE, part=part, **_paths(tmp_path, part.value))
    written, paper = (pd.read_csv(tmp_path / f"{part.value}.csv", dtype=str) for part in Part)
    assert list(written.columns) == list(paper.columns) == list(frame.columns)
    assert len(paper) == 53 and set(paper["section"]) == {"paper"}
    theirs = written[written["section"] == "paper"]
    assert set(theirs["network"]) == {"ResNet56"} and len(theirs) == 3
    assert (written["section"] == "ours").sum() == 2
    demo, rest = (tmp_path / "runs.md").read_text().split("## Rows of the paper")
    assert "1 of 53 results obtained here" in rest and "MobileNet" not in rest
    assert "5.00 (n=1) | 5.49 | -0.49" in rest and "5.49" not in demo
    assert "ends in -paper" in rest
    assert (
        (tmp_path / "paper.md")
        .read_text()
        .startswith("# Table 1: Image classification: the paper's rows\n")
    )
    whole = to_markdown(2, table(2, runs, experiments))
    assert "0 of 8" not in whole and "Not run: no experiment" in whole


def test_our_network_of_a_papers_name_is_no_row_of_the_paper() -> None:
    """Neither has a dataset in Table 2."""
    small = {**DNCNN, "test": ["photographs"], "label": "DnCNN, small"}
    del small["paper"]
    frame = table(2, [run("dn", "lw-dna", test_set="photographs", psnr_db=24.0)], {"dn": small})
    assert "24.9" not in to_markdown(2, frame)
    assert "24.9" in to_markdown(2, frame, part=Part.PAPER)
