"""The whole pipeline, from a configuration to tables and figures."""

import json
import shutil
from collections import defaultdict

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from running import ROOT, TINY, copy_project, planned, snakemake
from running import lwdna as command

import lwdna
from lwdna.config.methods import METHODS
from lwdna.data.sequence_sets import open_sets
from lwdna.networks.weights import read_provenance
from lwdna.rivals.dhp_record import read_latents
from lwdna.tracking.box_files import read_archive
from lwdna.tracking.dimp import PerFrame
from lwdna.tracking.following import videos_of

PRINTED = {"table", "paper_rows", "training_logs", "remaining_channels", "strip", "latents"}
PRINTED |= {"agreement", "searches", "widths", "success", "boxes_strip", "report_page"}
"""The rules that make tables and figures."""


def changed(tmp_path, change):
    """The tiny configuration with a change."""
    config = yaml.safe_load(TINY.read_text())
    change(config)
    path = tmp_path / "changed.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def test_every_table_is_there_and_honest(finished):
    scale = yaml.safe_load(TINY.read_text())["scale"]
    for number in (1, 2, 3, 4, 5):
        text = (finished / f"results/tables/table{number}.md").read_text()
        assert scale in text
        assert (
            f"<h1>Table {number}" in (finished / f"results/tables/table{number}.html").read_text()
        )
    one = pd.read_csv(finished / "results/tables/table1.csv")
    theirs = pd.read_csv(finished / "results/tables/table1-paper.csv")
    assert len(theirs) == 53 and set(one["section"]) == {"ours"}
    assert set(theirs["section"]) == {"paper"} and (theirs["status"] == "not run").all()
    assert theirs["top1_error_percent_mean"].isna().all()
    ours = one[one["section"] == "ours"].set_index("method")
    assert set(ours.index) == {
        "Baseline",
        "Baseline KD",
        "DHP KD",
        "AutoSlim KD",
        "L1",
        "LW-DNA",
        "LW-DNA as generated",
        "Uniform",
    }
    assert ours["top1_error_percent_mean"].between(0, 100).all()
    counted = theirs[(theirs["network"] == "ResNet56") & (theirs["method"] == "Baseline")]
    assert counted["flops_vs_paper"].tolist() == ["="]


@pytest.mark.parametrize(
    ("experiment", "network", "ratio"),
    [
        *(
            ("digits", method, 0.9)
            for method in ("lw-dna", "dhp-kd", "autoslim-kd", "l1", "uniform", "generated")
        ),
        ("denoising", "lw-dna", 0.9),
        ("super-resolution", "lw-dna", 0.9),
    ],
)
def test_shrunk_networks_meet_the_budget(finished, experiment, network, ratio):
    runs = finished / "results/runs" / experiment
    target = ratio * pd.read_csv(runs / "baseline/metrics.csv")["flops"][0]
    flops = pd.read_csv(runs / network / "metrics.csv")["flops"][0]
    # A network this small cannot come nearer than a channel allows.
    assert 0.97 * target < flops <= target


def test_trained_networks_load_as_plain_modules(finished):
    path = finished / "results/runs/digits/lw-dna/seed0/weights.safetensors"
    model = lwdna.load(path)
    counts = pd.read_csv(finished / "results/shrink/digits/lw-dna/seed0/channels.csv")
    summary = json.loads((finished / "results/shrink/digits/lw-dna/seed0/network.json").read_text())
    for row in counts.itertuples():
        assert len(model.get_submodule(row.layer).weight) == row.after
        entry = summary["layers"][row.layer]
        assert (entry["before"], entry["after"]) == (row.before, row.after)
    assert counts.loc[counts["frozen"], "layer"].tolist() == ["classifier"]
    status, text = command("info", path)
    assert status == 0 and "MobileNetV1" in text and "features.0.0" in text


def test_distillation_and_shrinkage_start_from_their_own_files(finished):
    runs = finished / "results/runs/digits"
    weights = {
        m: (runs / m / "seed0/weights.safetensors").read_bytes()
        for m in (
            *("teacher", "baseline", "baseline-kd", "dhp-kd", "autoslim-kd", "lw-dna"),
            "generated",
        )
    }
    assert len(set(weights.values())) == len(weights)


def test_pruning_starts_from_the_trained_baseline(finished):
    pruned = finished / "results/shrink/digits/l1/seed0/network.safetensors"
    whole = lwdna.load(finished / "results/runs/digits/baseline/seed0/weights.safetensors")
    small, kept = lwdna.load(pruned), read_provenance(pruned).kept
    assert torch.equal(small.classifier.bias, whole.classifier.bias)
    ours, theirs = (net.get_submodule("features.0.0").weight for net in (small, whole))
    assert torch.equal(ours, theirs[kept["features.0.0"]]) and len(ours) < len(theirs)
    trained = finished / "results/runs/digits/l1/seed0/weights.safetensors"
    assert read_provenance(trained).kept == kept


def test_the_start_is_noted_and_changes_no_channel(finished):
    folder = finished / "results/shrink/digits"
    ours, generated, searched = (
        json.loads((folder / name / "seed0/network.json").read_text())
        for name in ("lw-dna", "generated", "dhp")
    )
    assert (ours["settings"]["start"], generated["settings"]["start"]) == ("fresh", "generated")
    assert ours["layers"] == generated["layers"]
    assert "start" not in searched["settings"]


def test_a_search_leaves_its_record(finished):
    folder = finished / "results/shrink/digits/dhp/seed0"
    record = read_latents(folder / "latents.h5")
    assert record.trajectory[-1, 1] <= 1.02 * record.settings["target_flops"]
    assert record.trajectory[0, 1] > 2 * record.settings["target_flops"]
    history = pd.read_csv(folder / "history.csv")
    assert max(record.latents) == len(history) > 1
    folder = finished / "results/shrink/digits/autoslim/seed0"
    removed = pd.read_csv(folder / "trajectory.csv")
    summary = json.loads((folder / "network.json").read_text())
    assert removed["flops"].iloc[0] == summary["flops"]["before"]
    assert removed["flops"].is_monotonic_decreasing
    # The last group went as far as whole channels had to.
    assert removed["flops"].iloc[-1] <= summary["flops"]["after"] < removed["flops"].iloc[-2]


def test_what_networks_have_to_beat_is_measured_unasked(finished):
    """Bicubic and the noisy input, on the test images, beside every network of restoration."""
    for number, name, title in (
        (2, "noisy-input-sigma70-denoising", "Noisy input"),
        (4, "bicubic-scale4-sr-benchmark", "Bicubic"),
    ):
        measured = pd.read_csv(finished / f"results/references/{name}/photographs.csv")
        table = pd.read_csv(finished / f"results/tables/table{number}.csv")
        first = table[table["section"] == "ours"].iloc[0]
        assert (first["method"], first["status"]) == (title, "run")
        assert first["psnr_db_mean"] == pytest.approx(measured["psnr_db"][0], abs=1e-6)
        assert 10 < first["psnr_db_mean"] < 40
    assert len(list((finished / "results/references").glob("*/*.csv"))) == 3


def test_trackers_are_on_the_networks_of_the_run(finished):
    """Each on that of its method, which its training changes; what they find is in Table 5."""
    table = pd.read_csv(finished / "results/tables/table5.csv").set_index("method")
    assert table.index.to_list() == ["Box that stays", "Baseline", "LW-DNA"]
    assert (table["status"] == "run").all() and table["synthetic"].all()
    assert table["average_overlap_percent_mean"].between(0, 100).all()
    said = (finished / "results/tables/table5.md").read_text()
    assert "DiMP-LW-DNA" in said and "motion (synthetic)" in said
    for title, method in (("Baseline", "baseline"), ("LW-DNA", "lw-dna")):
        path = finished / f"results/runs/tracking/{method}/seed0/weights.safetensors"
        backbone = lwdna.load(finished / f"results/runs/digits/{method}/seed0/weights.safetensors")
        tracker = lwdna.tracking.load(path, device="cpu").model
        own = tracker.backbone.network.state_dict()
        given = backbone.state_dict()
        assert {name: t.shape for name, t in own.items()} == {n: t.shape for n, t in given.items()}
        # What follows the last tap is kept as it was, and what comes before has learned.
        assert own["classifier.weight"].equal(given["classifier.weight"])
        assert not own["features.0.0.weight"].equal(given["features.0.0.weight"])
        image = torch.zeros(1, 3, 72, 72)
        flops = lwdna.complexity(PerFrame(tracker), image)[0]
        assert table["flops_g"][title] == pytest.approx(flops / 1e9)
    truth = finished / "results/sequences/motion/test.json"
    for method in ("baseline", "lw-dna"):
        boxes = read_archive(finished / f"results/runs/tracking/{method}/seed0/boxes/motion.zip")
        assert [*boxes] == [video.name for video in videos_of(open_sets(truth))]
    with Image.open(finished / "results/figures/boxes-tracking.webp") as film:
        assert film.n_frames == 24


def test_criteria_are_compared(finished):
    table = pd.read_csv(finished / "results/tables/agreement.csv")
    assert len(table) == 15 and set(table["experiment"]) == {"digits"}
    assert table["overlap"].dropna().between(0, 1).all() and table["overlap"].notna().sum() == 3
    ours = table[(table["first"] == "l1") | (table["second"] == "l1")]
    assert len(ours) == 5 and ours["overlap"].isna().all()
    assert ours["rank_correlation"].notna().any()


def test_figures_show_something(finished):
    names = ["training-logs", "remaining-channels", "strip-denoising", "strip-super-resolution"]
    names += ["latents-digits", "agreement", "searches", "widths"]
    names += ["success-tracking", "boxes-tracking"]
    for name in names:
        picture = np.asarray(Image.open(finished / f"results/figures/{name}.png").convert("L"))
        assert picture.shape[1] >= 900 and picture.std() > 5
        assert "<svg" in (finished / f"results/figures/{name}.svg").read_text()[:2000]


def test_logs_and_benchmarks_are_kept(finished):
    assert "Shrunk" in (finished / "results/logs/shrink/digits/lw-dna/seed0.log").read_text()
    assert "mean_load" in (finished / "results/benchmarks/crop/photographs.tsv").read_text()


def test_a_second_run_does_nothing(finished):
    status, output = snakemake(finished)
    assert status == 0 and "Nothing to be done" in output


def test_a_new_label_redraws_and_does_not_retrain(finished, tmp_path):
    config = changed(tmp_path, lambda c: c.update(scale="Another label"))
    status, output = snakemake(finished, "-n", config=config)
    assert status == 0
    assert set(planned(output)) == {"all", *PRINTED}


def test_a_changed_title_is_printed_anew_and_trains_nothing(copy, tmp_path):
    """Tables and figures depend on all of the wing that makes them, and on where titles stand."""
    project = tmp_path / "project"
    copy_project(project)

    def run(*arguments):
        status, output = snakemake(copy, "--snakefile", project / "Snakefile", *arguments)
        assert status == 0, output
        return output

    run("--touch")
    assert "Nothing to be done" in run("-n")
    for name in ("config/methods.py", "results/cells.py", "results/panels.py"):
        path = project / "lwdna" / name
        former = path.read_text()
        path.write_text(f"{former}# A line more.\n")
        jobs = planned(run("-n"))
        path.write_text(former)
        assert jobs.pop("all") and set(jobs) == PRINTED


def test_another_part_of_an_image_is_drawn_alone(finished, tmp_path):
    def elsewhere(config):
        config["experiments"]["denoising"]["strip"] = {"centre": [40, 90], "size": 64}

    status, output = snakemake(finished, "-n", "-p", config=changed(tmp_path, elsewhere))
    assert status == 0
    jobs = planned(output)
    assert jobs["strip"] == 1
    assert not {"train", "shrink", "evaluate", "reference"} & set(jobs)
    assert "--size 64 --centre 40 90" in output


def test_a_new_protocol_retrains_what_it_concerns(finished, tmp_path):
    config = changed(tmp_path, lambda c: c["protocols"]["restoration"].update(epochs=3))
    status, output = snakemake(finished, "-n", config=config)
    assert status == 0
    jobs = planned(output)
    assert jobs["train"] == 4 and "shrink" not in jobs and "crop" not in jobs


def test_what_is_filtered_out_is_not_run_in_the_tables(copy, tmp_path):
    """With results of everything there, and at the paper's scale, whose label is empty."""
    config = changed(tmp_path, lambda c: c.update(scale=""))
    status, output = snakemake(
        copy, "--config", "methods=baseline", "--", "table1", "figures", config=config
    )
    assert status == 0, output
    table = pd.read_csv(copy / "results/tables/table1.csv")
    ours = table[table["section"] == "ours"].set_index("method")["status"]
    assert ours["Baseline"] == "run"
    assert len(ours) == 8 and set(ours.drop("Baseline")) == {"not run"}
    status, output = snakemake(copy, "--", "table1", config=config)
    assert status == 0, output
    ours = pd.read_csv(copy / "results/tables/table1.csv").query("section == 'ours'")
    assert set(ours["status"]) == {"run"} and ours["scale"].isna().all()


def test_another_network_is_trained_again(finished, tmp_path):
    def wider(config):
        config["experiments"]["denoising"]["network"]["options"]["channels"] = 8

    status, output = snakemake(finished, "-n", config=changed(tmp_path, wider))
    assert status == 0
    assert (planned(output)["train"], planned(output)["shrink"]) == (2, 1)


def test_a_plan_of_what_is_done_has_no_job(finished):
    status, text = command("plan", "--configfile", TINY, "--directory", finished)
    assert status == 0, text
    assert "none, everything is done" in text


def test_a_retraining_with_other_settings_starts_anew(copy, tmp_path):
    """The old checkpoint lies there, and must neither be used nor be in the way."""
    config = changed(tmp_path, lambda c: c["protocols"]["classification"].update(epochs=2))
    target = "results/runs/digits/baseline/seed0/history.csv"
    status, output = snakemake(copy, target, config=config)
    assert status == 0, output
    assert len(pd.read_csv(copy / target)) == 2


def test_a_finished_training_is_read_from_its_checkpoint(copy):
    folder = copy / "results/runs/digits/baseline"
    before = {p.name: p.read_bytes() for p in (folder / "seed0").iterdir() if p.is_file()}
    shutil.rmtree(folder)
    status, output = snakemake(copy, "results/runs/digits/baseline/metrics.csv")
    assert status == 0 and "already complete" in output
    assert before == {p.name: p.read_bytes() for p in (folder / "seed0").iterdir()}


def test_another_precision_is_another_run(copy, tmp_path):
    config = changed(
        tmp_path, lambda c: c["protocols"]["classification"].update(precision="bf16-mixed")
    )
    target = "results/runs/digits/baseline/seed0/weights.safetensors"
    before = (copy / target).read_bytes()
    status, output = snakemake(copy, target, config=config)
    assert status == 0 and "already complete" not in output
    assert (copy / target).read_bytes() != before


def test_another_test_image_is_another_history(copy, tmp_path):
    config = changed(tmp_path, lambda c: c["datasets"]["photographs"].update(test=["astronaut"]))
    target = "results/runs/denoising/baseline/seed0/history.csv"
    before = (copy / target).read_bytes()
    assert snakemake(copy, target, config=config)[0] == 0
    assert (copy / target).read_bytes() != before


def test_an_image_added_to_a_folder_is_noticed(tmp_path):
    for role, names in (("train", "ab"), ("test", "c")):
        (tmp_path / role).mkdir()
        for name in names:
            Image.effect_noise((96, 96), 40).save(tmp_path / role / f"{name}.png")
    config = changed(
        tmp_path,
        lambda c: c["datasets"].update(
            photographs={
                "kind": "images",
                "train": str(tmp_path / "train"),
                "test": str(tmp_path / "test"),
                "crop": {"size": 48, "step": 48, "threshold": 8, "scale": 4},
            }
        ),
    )
    target = "results/data/photographs/gray.h5"
    assert snakemake(tmp_path, target, config=config)[0] == 0
    assert "Nothing to be done" in snakemake(tmp_path, target, config=config)[1]
    Image.effect_noise((96, 96), 40).save(tmp_path / "train/d.png")
    status, output = snakemake(tmp_path, target, config=config)
    assert status == 0 and "Nothing to be done" not in output
    with h5py.File(tmp_path / target) as file:
        assert len(file["images"]) == 3 * 4


def test_the_report_has_the_tables_and_figures(finished, tmp_path):
    report = tmp_path / "report.html"
    status, output = snakemake(finished, "--report", report)
    assert status == 0, output
    text = report.read_text()
    for item in (
        "table1.html",
        "table4.html",
        "training-logs.png",
        "strip-denoising.png",
        "latents-digits.gif",
        "table5.html",
        "boxes-tracking.webp",
    ):
        assert item in text
    assert "Table 3 of the supplement" in text


@pytest.mark.parametrize("name", ["config.yaml", "config/paper.yaml", "config/controls.yaml"])
def test_the_configurations_that_come_along_can_be_planned(name, tmp_path):
    status, output = snakemake(tmp_path, "-n", config=ROOT / name)
    assert status == 0, output
    jobs = planned(output)
    assert jobs["table"] == 5 and jobs["train"] > jobs["shrink"] >= 9
    # CIFAR-10 and 100, Tiny-ImageNet, and DIV2K for training and validation.
    assert jobs.get("download", 0) == (5 if "paper" in name else 0)
    # Once for each test set, however many networks: BSD68, DIV2K, five of super-resolution; and
    # seven of tracking.
    assert jobs["reference"] == 14 if "paper" in name else 1 <= jobs["reference"] <= 3


def test_the_paper_configuration_covers_the_rows_of_its_networks():
    config = yaml.safe_load((ROOT / "config/paper.yaml").read_text())
    # A rival is trained by a protocol, and so in an experiment, of its own.
    reproduced = defaultdict(set)
    for e in config["experiments"].values():
        if e["tables"] != [3]:
            reproduced[e["paper"].get("dataset"), e["paper"]["network"]] |= {*e["methods"]}
    names = {name: method.title for name, method in METHODS.items()}
    table = pd.read_csv(ROOT / "paper/table1.csv")
    for key, methods in reproduced.items():
        rows = table[(table["dataset"] == key[0]) & (table["network"] == key[1])]
        if len(rows):
            assert {names[m] for m in methods} == set(rows["method"]) & set(names.values())
    ablation = pd.read_csv(ROOT / "paper/table3.csv")
    settings = {
        (e["shrink"]["rho"], e["shrink"]["tau"], e["shrink"]["target_flops"])
        for e in config["experiments"].values()
        if 3 in e["tables"]
    }
    assert settings == {(r.rho, r.tau, round(r.flops_g * 1e9)) for r in ablation.itertuples()}


def test_the_complexity_configuration_plans_every_network(tmp_path):
    status, output = snakemake(
        tmp_path, "-n", "--", "complexity_columns", config=ROOT / "config/complexity.yaml"
    )
    assert status == 0, output
    jobs = planned(output)
    assert (jobs["replicate"], jobs["complexity_table"]) == (18, 3), output


def test_a_network_is_shrunk_again_through_the_workflow(tmp_path):
    """From photographs to the table, with the smallest settings."""
    config = yaml.safe_load((ROOT / "config/complexity.yaml").read_text())
    section = config["replication"]
    section["seeds"] = [0]
    section["networks"] = {
        "dncnn": {"network": "DnCNN", "batch_size": 1, "batches": 1, "patch_size": 16}
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    status, output = snakemake(
        tmp_path, "--", "complexity_columns", config=tmp_path / "config.yaml"
    )
    assert status == 0, output
    text = (tmp_path / "results/complexity/table2.md").read_text()
    assert "| DnCNN | gradient |" in text
    assert text.count("Consistent with") + text.count("None of the criteria") == 1
    assert not (tmp_path / "results/complexity/table1.md").exists()
