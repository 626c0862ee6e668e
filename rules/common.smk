"""Configuration, wildcards and the functions that rules share."""

import hashlib
import json
import re
import shlex
import sys

sys.path.insert(0, str(workflow.basedir))

from lwdna.config import METHODS_WITH_TEACHER, check
from lwdna.errors import LwdnaError
from lwdna.files import hold
from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod

BASE = Path(workflow.basedir)

# A colon ends a folder in PYTHONPATH, braces make a wildcard of it in Snakemake.
if set(str(BASE)) & set(":{}"):
    raise WorkflowError(
        f"The folder of the workflow, '{BASE}', has a colon or a brace in its path, "
        "which does not work; rename it."
    )

try:
    config = check(config, BASE / "config/schema.yaml")
except LwdnaError as error:
    raise WorkflowError(str(error))

EXPERIMENTS = config["experiments"]
DATASETS = config["datasets"]
REPLICATION = config.get("replication", {"networks": {}})
TEACHER = "teacher"

# The package is found beside the Snakefile, also in a conda environment and in a working
# directory elsewhere. Without conda, the steps run by the Python that runs Snakemake.
setup = f"set -euo pipefail; export PYTHONPATH={shlex.quote(str(BASE))}; "
if DeploymentMethod.CONDA not in workflow.deployment_settings.deployment_method:
    setup += f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; "
shell.prefix(setup.replace("{", "{{").replace("}", "}}"))


onstart:
    # Snakemake's own lock outlives a killed run; this one ends with the process that holds it.
    try:
        hold(".snakemake/lwdna.lock")
    except LwdnaError as error:
        raise WorkflowError(str(error))


def datasets_of(*kinds):
    """Pattern of the names of the datasets of some kinds."""
    names = [re.escape(name) for name, d in DATASETS.items() if d["kind"] in kinds]
    return "|".join(names) or "(?!)"


wildcard_constraints:
    experiment="|".join(re.escape(name) for name in EXPERIMENTS),
    method="|".join([TEACHER, "baseline", "baseline-kd", "lw-dna"]),
    dataset="|".join(re.escape(name) for name in DATASETS),
    split="train|test",
    seed=r"\d+",
    table="[1-4]",
    replica="|".join(re.escape(name) for name in REPLICATION["networks"]) or "(?!)",


def experiment(wildcards):
    """The section of an experiment."""
    return EXPERIMENTS[wildcards.experiment]


def as_json(value):
    """A slice of the configuration for a command line."""
    # Sorted, so that an edit of the order of keys changes no job.
    return json.dumps(value, sort_keys=True)


def train_images(wildcards):
    """The store an experiment is trained on."""
    section = experiment(wildcards)
    name = {
        "classification": "train",
        "denoising": "gray",
        "super-resolution": "colour",
    }
    return f"results/data/{section['train']}/{name[section['task']['kind']]}.h5"


def test_images(wildcards):
    """The stores or folders an experiment is tested on, in the order of its test sets."""
    section = experiment(wildcards)
    if section["task"]["kind"] == "classification":
        return [f"results/data/{name}/test.h5" for name in section["test"]]
    return [f"results/images/{name}/test" for name in section["test"]]


def test_arguments(wildcards, input):
    """Names and paths of the test sets, for the command line."""
    pairs = zip(experiment(wildcards)["test"], input.test, strict=True)
    return [word for name, path in pairs for word in ("--test", name, path)]


def listing(wildcards):
    """What is in the folder that a dataset names, so that a change of it is noticed."""
    folder = DATASETS[wildcards.dataset].get(wildcards.split)
    if not isinstance(folder, str) or not Path(folder).is_dir():
        return ""
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    facts = [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def task_of(wildcards):
    """The task of an experiment, for the command line."""
    return as_json(experiment(wildcards)["task"])


def output_options(wildcards, output):
    """Every output as an option, for the command line."""
    return [word for path in output for word in ("--output", path)]


def images_source(wildcards):
    """Names of photographs, or the folder that holds the images."""
    dataset = DATASETS[wildcards.dataset]
    if dataset["kind"] == "photographs":
        return dataset[wildcards.split]
    return ["--folder", dataset[wildcards.split]]


def options(settings, names):
    """Command-line options of the settings that are given."""
    return [
        word
        for name in names
        if name in settings
        for word in (f"--{name.replace('_', '-')}", str(settings[name]))
    ]


def crop_rule(wildcards):
    """The rule of sub-images of a dataset, for the command line."""
    return options(
        DATASETS[wildcards.dataset]["crop"], ("size", "step", "threshold", "scale")
    )


def shrink_network(wildcards):
    """The network to widen and shrink, for the command line."""
    network = experiment(wildcards)["network"]
    words = [network["name"], "--options", as_json(network["options"])]
    return words + options(network, ("dataset", "width"))


def shrink_settings(wildcards):
    """The settings of shrinkage, for the command line."""
    settings = experiment(wildcards)["shrink"]
    return options(settings, sorted(settings))


def shrink_memory(wildcards):
    """Megabytes: after a second warm-up step the hypernetwork is held, many times its network."""
    return 16000 if experiment(wildcards)["shrink"]["warmup_steps"] > 1 else 4000


def device(wildcards, resources):
    """The GPUs that a job was given, or the CPU, for the command line."""
    gpus = resources.get("gpu", 0)
    return ["--accelerator", "auto" if gpus else "cpu", "--devices", str(max(1, gpus))]


def train_start(wildcards, input):
    """What training starts from, and the teacher, for the command line."""
    section = experiment(wildcards)
    width = section["network"]["width"]
    if wildcards.method == TEACHER:
        width *= section["teacher"]["width"]
    words = ["--teacher", input.teacher] if input.teacher else []
    if input.shrunk:
        return ["--weights", input.shrunk, *words]
    return ["--network", as_json(section["network"] | {"width": width}), *words]


def convention_of(wildcards):
    """How super-resolution is measured on the first test set, for the command line."""
    section = experiment(wildcards)
    if section["task"]["kind"] != "super-resolution":
        return []
    return ["--convention", DATASETS[section["test"][0]]["convention"]]


def conventions_of(wildcards):
    """By test set, how super-resolution is measured."""
    section = experiment(wildcards)
    if section["task"]["kind"] != "super-resolution":
        return as_json({})
    return as_json({name: DATASETS[name]["convention"] for name in section["test"]})


def shrunk_of(wildcards):
    """The shrunk network that a run of `train` starts from."""
    if wildcards.method != "lw-dna":
        return []
    return f"results/shrink/{wildcards.experiment}/seed{wildcards.seed}/network.safetensors"


def teacher_of(wildcards):
    """The trained teacher of a run of `train`."""
    teacher = experiment(wildcards).get("teacher")
    if teacher is None or wildcards.method not in METHODS_WITH_TEACHER:
        return []
    owner = teacher.get("experiment", wildcards.experiment)
    return f"results/runs/{owner}/{TEACHER}/seed{wildcards.seed}/weights.safetensors"


def protocol_of(wildcards):
    """The training protocol of a run, for the command line."""
    protocol = dict(config["protocols"][experiment(wildcards)["protocol"]])
    precision = protocol.pop("precision")
    return ["--protocol", as_json(protocol), "--precision", precision]


def batch_norm_flag(wildcards):
    """Whether the FLOPs of an experiment count batch norm."""
    # Only so is DnCNN 9.10 G, as Table 2 has it.
    return (
        "--no-count-batch-norm"
        if 2 in experiment(wildcards)["tables"]
        else "--count-batch-norm"
    )


def scale(wildcards):
    """The label of a run that is not at the paper's scale; a function, so that braces are text."""
    return config["scale"]


def pictured():
    """The experiments that figures show: those that are more than an ablation of rho and tau."""
    return [name for name, section in EXPERIMENTS.items() if section["tables"] != [3]]


def histories():
    """The training history of every run that figures show."""
    return [
        f"results/runs/{name}/{method}/seed{seed}/history.csv"
        for name in pictured()
        for method in EXPERIMENTS[name]["methods"]
        for seed in EXPERIMENTS[name]["seeds"]
    ]


def metrics_of(names):
    """The metrics of every method of some experiments."""
    return [
        f"results/runs/{name}/{method}/metrics.csv"
        for name in names
        for method in EXPERIMENTS[name]["methods"]
    ]


def of_table(number):
    """The experiments of a table."""
    return [name for name, e in EXPERIMENTS.items() if int(number) in e["tables"]]


def restoring():
    """The experiments with images to look at, where both networks are trained."""
    wanted = {"baseline", "lw-dna"}
    return [
        name
        for name, e in EXPERIMENTS.items()
        if e["task"]["kind"] != "classification" and wanted <= set(e["methods"])
    ]


def weights_of(name, method):
    """The trained networks of a method, one for each seed."""
    return [
        f"results/runs/{name}/{method}/seed{seed}/weights.safetensors"
        for seed in EXPERIMENTS[name]["seeds"]
    ]


TABLES = (1, 2, 3, 4)


def paper_csv(number):
    """The paper's numbers of a table; the supplement has none for super-resolution."""
    path = BASE / f"paper/table{number}.csv"
    return str(path) if path.exists() else []


def shown(names, *keys):
    """What tables and figures need to know of some experiments, in the order to show them."""
    sections = {name: EXPERIMENTS[name] for name in names}
    return json.dumps(
        {
            name: {key: s[key] for key in keys if key in s}
            for name, s in sections.items()
        }
    )


def shrunk_experiments():
    """The experiments with a shrunk network that figures show."""
    return [name for name in pictured() if "lw-dna" in EXPERIMENTS[name]["methods"]]


def channel_counts():
    """The channels by layer of the shrunk networks that figures show."""
    return [
        f"results/shrink/{name}/seed{seed}/channels.csv"
        for name in shrunk_experiments()
        for seed in EXPERIMENTS[name]["seeds"]
    ]


def labels_of_runs(paths):
    """By path of a run's file: experiment, method and seed, read off the path."""
    pattern = re.compile(
        r"results/(?:runs|shrink)/([^/]+)/(?:([^/]+)/)?seed(\d+)/[^/]+"
    )
    found = {str(path): pattern.fullmatch(str(path)).groups() for path in paths}
    return as_json(
        {
            path: {"experiment": name, "seed": int(seed)}
            | ({"method": method} if method else {})
            for path, (name, method, seed) in found.items()
        }
    )


def tables():
    """Every table."""
    return expand(
        "results/tables/table{table}.{kind}", table=TABLES, kind=["csv", "md", "html"]
    )


def figures():
    """Every figure."""
    names = [
        "training-logs",
        "remaining-channels",
        *(f"strip-{name}" for name in restoring()),
    ]
    return expand("results/figures/{name}.{kind}", name=names, kind=["png", "svg"])


def replicas(number):
    """The networks of one of the paper's tables that are to be shrunk again."""
    belongs = {
        1: lambda section: "dataset" in section,
        2: lambda section: "dataset" not in section,
        3: lambda section: (section["network"], section.get("dataset"))
        == ("MobileNetV1", "tiny-imagenet"),
    }
    return [
        name
        for name, section in REPLICATION["networks"].items()
        if belongs[number](section)
    ]


def replica_options(wildcards):
    """What is shrunk again, and how, for the command line."""
    section = REPLICATION["networks"][wildcards.replica]
    seeds = [word for seed in REPLICATION["seeds"] for word in ("--seeds", str(seed))]
    settings = section | {"width": REPLICATION["width"]}
    return [
        section["network"],
        *options(settings, sorted(set(settings) - {"network"})),
        *seeds,
    ]


def replica_photographs(wildcards):
    """The photographs whose crops stand in for the datasets."""
    return f"results/images/{REPLICATION['images']}/train"
