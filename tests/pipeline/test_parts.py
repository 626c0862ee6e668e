"""Parts of the experiments, by target and by filter, and what a run will take."""

import json
import re
import subprocess
import sys

import pandas as pd
import pytest
import yaml
from running import ROOT, TINY, lwdna, planned, snakemake

from lwdna.config.check import check
from lwdna.config.methods import SEARCHES
from lwdna.config.read import with_filters
from lwdna.config.select import selected
from lwdna.errors import ConfigError
from lwdna.workflow import snakemake as asked
from lwdna.workflow.cost import Plan, notes
from lwdna.workflow.experiment import count
from lwdna.workflow.snakemake import DryRun, Job
from lwdna.workflow.throughput import Throughput, load_throughput

PAPER = ROOT / "config/paper.yaml"


SECTIONS = yaml.safe_load(PAPER.read_text())


def read(**changes):
    """The paper's configuration, with some keys replaced, checked."""
    return check(with_filters(SECTIONS | changes, SECTIONS), ROOT / "config/schema.yaml")


@pytest.mark.parametrize(
    ("only", "experiments"),
    [
        ({"datasets": "cifar10"}, {"cifar10-resnet56", "cifar10-densenet40"}),
        ({"datasets": "bsd68"}, {"dncnn", "unet"}),
        ({"networks": "DnCNN, EDSR"}, {"dncnn", "edsr"}),
        ({"networks": ["U-Net"]}, {"unet"}),
        ({"experiments": "srresnet"}, {"srresnet"}),
        (
            {"datasets": ["cifar10", "bsd68"], "networks": "ResNet56,DnCNN"},
            {"cifar10-resnet56", "dncnn"},
        ),
        ({"only": {"datasets": ["cifar10"]}}, {"cifar10-resnet56", "cifar10-densenet40"}),
        (
            {"only": {"datasets": ["cifar10"]}, "networks": "ResNet56"},
            {"cifar10-resnet56"},
        ),
    ],
    ids=lambda value: "" if isinstance(value, set) else str(value),  # sets have no order
)
def test_names_where_a_section_belongs_are_a_filter(only, experiments):
    config = read(**only)
    assert set(selected(config)) == experiments
    assert set(config["experiments"]) == set(SECTIONS["experiments"])


def test_how_results_are_counted_and_measured_follows_from_the_table_or_a_key():
    experiments = read()["experiments"]
    assert [experiments[e]["count_batch_norm"] for e in ("dncnn", "edsr")] == [False, True]
    dncnn = {k: v for k, v in SECTIONS["experiments"]["dncnn"].items() if k != "count_batch_norm"}
    for given, expected in (({}, False), ({"count_batch_norm": True}, True)):
        found = read(experiments={"dncnn": dncnn | given})["experiments"]["dncnn"]
        assert found["count_batch_norm"] is expected


def test_a_filter_of_methods_leaves_the_others_out():
    chosen = selected(read(methods="baseline-kd"))
    assert set(map(tuple, chosen.values())) == {("baseline-kd",)} and "dncnn" not in chosen
    assert selected(read())["dncnn"] == ["baseline", "lw-dna"]


@pytest.mark.parametrize(
    ("only", "message"),
    [
        ({"datasets": "cifar-10"}, "only.datasets names 'cifar-10'.*did you mean 'cifar10'"),
        ({"networks": "ResNet65"}, "did you mean 'ResNet56'"),
        ({"methods": "lwdna"}, "did you mean 'lw-dna'"),
        ({"methods": "uniform"}, "only.methods names 'uniform', which no experiment has"),
        ({"experiments": ""}, "only.experiments"),
        ({"only": {"network": ["DnCNN"]}}, "did you mean 'networks'"),
        ({"networks": "DnCNN", "methods": "baseline-kd"}, "No experiment is of networks DnCNN and"),
    ],
    ids=str,
)
def test_a_filter_of_nothing_is_refused_in_a_sentence(only, message):
    with pytest.raises(ConfigError, match=message):
        read(**only)


def test_a_table_is_a_target_and_takes_a_filter(tmp_path):
    status, output = snakemake(
        tmp_path, "-n", "--config", "networks=MobileNetV1", "--", "table3", config=PAPER
    )
    assert status == 0, output
    # Three LW-DNA networks of Table 3 alone, four methods of the fourth, and one teacher.
    assert planned(output)["train"] == 8 and planned(output)["table"] == 1
    status, output = snakemake(tmp_path, "-n", "--config", "datasets=cifar-10", config=PAPER)
    assert status == 1 and "did you mean 'cifar10'?" in output and "Traceback" not in output


def test_the_gpus_of_a_job_are_its_devices(tmp_path):
    status, output = snakemake(
        tmp_path, "-n", "-p", "--set-resources", "train:gpu=2", "--resources", "gpu=2"
    )
    assert status == 0, output
    trainings = re.findall(r"lwdna --log \S+ train .*", output)
    assert trainings and all("--accelerator gpu --devices 2" in line for line in trainings)
    evaluations = re.findall(r"lwdna --log \S+ evaluate .*", output)
    assert evaluations and all("--accelerator cpu" in line for line in evaluations)


# Plans.


@pytest.fixture(scope="module")
def papers_plan(tmp_path_factory):
    """The plan of the paper, as printed and as CSV, and Snakemake's own dry run."""
    folder = tmp_path_factory.mktemp("plan")
    arguments = ["--configfile", PAPER, "--directory", folder]
    status, text = lwdna("plan", "--csv", folder / "plan.csv", "--throughput", "1e12", *arguments)
    assert status == 0, text
    frame = pd.read_csv(folder / "plan.csv")
    return text, frame, snakemake(folder, "-n", "-p", config=PAPER)[1]


def test_a_plan_counts_the_jobs_of_the_dry_run(papers_plan):
    text, frame, output = papers_plan
    there = planned(output)
    assert frame.set_index("network")["jobs"]["all"] == sum(there.values())
    for name, number in there.items():
        assert re.search(rf"\b{name} {number}\b", text.split("Jobs by rule: ")[1]), name
    runs = frame[frame["table"].notna()]
    rules = ("train", "shrink", *SEARCHES, "evaluate", "follow")
    assert runs["jobs"].sum() == sum(there[rule] for rule in rules)
    assert frame["jobs"].iloc[:-1].sum() == frame["jobs"].iloc[-1]


def test_the_papers_results_are_counted_and_measured_as_its_tables_are(papers_plan):
    lines = re.findall(r"lwdna --log \S+ evaluate .*", papers_plan[2])
    wanted = {
        "/dncnn/": ("--no-count-batch-norm", "--conventions '{}'"),
        "/edsr/": ("--count-batch-norm", '"div2k-valid": "sr-div2k", "set14": "sr-benchmark"'),
        "/cifar10-resnet56/": ("--count-batch-norm", "--conventions '{}'"),
    }
    for part, words in wanted.items():
        own = [line for line in lines if part in line]
        assert own and all(word in line for line in own for word in words), part


@pytest.mark.parametrize(
    ("chosen", "words"),
    [("denoising", "--conventions '{}'"), ("denoising-whole", '"photographs": "denoising-whole"')],
)
def test_how_denoising_is_measured_is_a_key(tmp_path, chosen, words):
    config = yaml.safe_load(TINY.read_text())
    config["experiments"]["denoising"]["convention"] = chosen
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    target = "results/runs/denoising/baseline/metrics.csv"
    status, output = snakemake(tmp_path, "-n", "-p", "--", target, config=path)
    assert status == 0, output
    (evaluation,) = re.findall(r"lwdna --log \S+ evaluate .*", output)
    assert words in evaluation
    (training,) = re.findall(r"lwdna --log \S+ train .*", output)
    assert ("--convention denoising-whole" in training) == (chosen == "denoising-whole")


def test_a_plan_adds_up_flops_images_and_epochs(papers_plan):
    _, frame, _ = papers_plan
    row = frame[(frame["dataset"] == "cifar10") & (frame["network"] == "ResNet56")].iloc[0]
    # Baseline with and without distillation, and the LW-DNA network at its budget (Table 1):
    # forward and backward pass of 50,000 images, 300 times, at 1e12 FLOPs a second.
    images = 50_000 * 300
    training = 3 * images * (2 * 127_369_856 + 126.2e6) / 1e12 / 3600
    assert row["training_hours"] == pytest.approx(training, rel=1e-9)
    network = {"name": "ResNet56", "dataset": "cifar10", "options": {}}
    teacher, _ = count({**network, "width": 2}, (1, 3, 32, 32))
    assert row["teachers_hours"] == pytest.approx(3 * images * teacher / 1e12 / 3600, rel=1e-9)
    assert row["distillation_hours"] == pytest.approx(2 * images * teacher / 3.6e15, rel=1e-9)
    passes = 10_000 * 301 * (2 * 127_369_856 + 126.2e6 + teacher) - 10_000 * teacher
    assert row["tests_hours"] == pytest.approx(passes / 3.6e15, rel=1e-9)
    # DnCNN on patches of 64 x 64, a quarter of the size at which 9.13 G are counted.
    denoising = frame[frame["network"] == "DnCNN"].iloc[0]
    share = 1 + 5.43e9 / 9_126_805_504
    hours = 3 * 640_000 * 60 * 9_126_805_504 / 4 * share / 3.6e15
    assert denoising["training_hours"] == pytest.approx(hours, rel=1e-6)
    assert frame["hours"].iloc[:-1].sum() == pytest.approx(frame["hours"].iloc[-1])


def planned_on(dataset, experiment):
    """The plan, and the training, of the baseline of an experiment of the paper on other images."""
    section = {**SECTIONS["experiments"][experiment], "train": "some", "test": ["some"]}
    del section["paper"]
    section["task"] = {**section["task"]}
    section["task"].pop("samples_per_epoch", None)
    config = read(datasets={"some": dataset}, experiments={"one": section})
    job = Job("train", {"experiment": "one", "method": "baseline", "seed": "0"})
    plan = Plan(config, DryRun([job]))
    return plan, next(iter(plan.rows.values()))


def test_a_plan_takes_no_size_from_a_name_alone():
    plan, work = planned_on({"kind": "cifar10", "archive": "data/a.tar.gz"}, "cifar10-resnet56")
    assert work.training == 3 * 127_369_856 * 50_000 * 300 and not plan.unknown
    folders = {"kind": "imagefolder", "train": "data/a", "test": "data/b"}
    plan, work = planned_on(folders, "cifar10-resnet56")
    assert (work.training, work.tests, plan.unknown) == (0, 0, {"some"})
    assert "is not known of some:" in " ".join(notes("", plan))


def test_a_plan_counts_photographs_but_not_their_sub_images():
    photographs = {"kind": "photographs", "train": ["chelsea"], "test": ["coffee", "astronaut"]}
    photographs["crop"] = {"size": 96, "step": 48, "threshold": 12}
    plan, work = planned_on(photographs, "dncnn")
    assert (work.training, plan.unknown) == (0, {"some"})
    _, fewer = planned_on({**photographs, "test": ["coffee"]}, "dncnn")
    assert work.tests == 2 * fewer.tests > 0


def test_a_plan_that_cannot_be_is_refused_in_a_sentence(tmp_path):
    there = ("--directory", tmp_path)
    (tmp_path / "broken.json").write_text("{}")
    cases = {
        ("table9", *there): r"Snakemake cannot plan this: .*table9",
        (*there, "--config", "datasets=digit"): "did you mean 'digits'",
        ("--throughput-file", tmp_path / "none.json", *there): "make it with --calibrate",
        ("--throughput-file", tmp_path / "broken.json", *there): "does not hold a measured",
        ("--configfile", tmp_path / "none.yaml"): "none.yaml",
    }
    for arguments, message in cases.items():
        status, text = lwdna("plan", *arguments)
        assert status == 1 and re.search(message, text), (arguments, text)
        assert "Traceback" not in text
    assert not (tmp_path / "results").exists()


def test_a_plan_needs_a_clone(tmp_path, monkeypatch):
    monkeypatch.setattr(asked, "ROOT", tmp_path)
    status, text = lwdna("plan")
    assert status == 1 and "run from a clone of the project" in text


def test_a_plan_needs_snakemake():
    code = "import sys; sys.modules['snakemake'] = None; from lwdna.__main__ import main; main()"
    command = [sys.executable, "-c", code, "plan"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "A plan needs Snakemake, which is not installed" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_measured_throughput_is_kept_and_used(tmp_path):
    """Of the tiny configuration's networks, whose steps take milliseconds."""
    there = ("--configfile", TINY, "--directory", tmp_path)
    status, text = lwdna("plan", "--calibrate", "--accelerator", "cpu", *there)
    assert status == 0, text
    kept = json.loads((tmp_path / "results/throughput.json").read_text())
    assert len(kept["networks"]) == 3 and all(rate > 0 for rate in kept["networks"].values())
    status, again = lwdna("plan", *there)
    assert status == 0 and "measured" in again
    table, found, _ = " ".join(text.split()).partition("Waiting for data")
    assert found and "GFLOP/s" not in table and " ".join(again.split()).startswith(table)


def test_the_throughput_of_others_is_the_harmonic_mean(tmp_path):
    measured = Throughput("a device", {"a": 1e9, "b": 3e9})
    measured.save(tmp_path / "t.json")
    read_back = load_throughput(tmp_path / "t.json")
    assert read_back == measured
    assert (read_back.of("b"), read_back.of("c")) == (3e9, 1.5e9)


def test_the_jobs_of_a_dry_run_are_its_rules_and_wildcards(tmp_path):
    there = ("--configfile", str(TINY), "--directory", str(tmp_path), "--quiet", "all")
    found = asked.dry_run(["results/runs/digits/lw-dna/metrics.csv", *there])
    of = {"experiment": "digits", "seed": "0"}
    assert sorted(found.jobs, key=lambda job: (job.rule, len(str(job)))) == [
        Job("digits", {"dataset": "digits"}),
        Job("evaluate", {"experiment": "digits", "method": "lw-dna"}),
        Job("shrink", {**of, "shrinkage": "lw-dna"}),
        Job("train", {**of, "method": "lw-dna"}),
        Job("train", {**of, "method": "teacher"}),
    ]
    assert found.counts == {"digits": 1, "evaluate": 1, "shrink": 1, "train": 2}
    assert not (tmp_path / "results").exists()


def test_a_job_of_no_experiment_is_the_rest():
    plan = Plan(read(), DryRun([Job("all")]))
    assert plan.rows["", "", "the rest"].jobs == 1
