"""Configuration, wildcards and the functions that rules share.

Rules that are done in seconds are `localrule`: on a cluster, they run beside Snakemake.
"""

import hashlib
import json
import re

from lwdna.cluster import before_planning, end_former_jobs
from lwdna.config import check, selected, with_filters
from lwdna.data.archives import archive_of
from lwdna.data.versions import read_versions, recorded
from lwdna.errors import LwdnaError
from lwdna.files import hold
from lwdna.methods import (
    COMPARABLE,
    DHP,
    METHODS,
    REFERENCES,
    SHRINKAGES,
    reference_key,
    reference_task,
    shrink_settings,
    shrinkages_of,
)
from snakemake.common.configfile import load_configfile
from snakemake.utils import update_config

# The files alone, the default first: `workflow.configfiles` has it last.
given = workflow.overwrite_configfiles
sections = {}
for file in [*(f for f in workflow.configfiles if f not in given), *given]:
    update_config(sections, load_configfile(file))

# A colon ends a folder in PYTHONPATH, braces make a wildcard of it in Snakemake.
if set(str(BASE)) & set(":{}"):
    raise WorkflowError(
        f"The folder of the workflow, '{BASE}', has a colon or a brace in its path, "
        "which does not work; rename it."
    )

try:
    config = check(with_filters(config, sections), BASE / "config/schema.yaml")
    VERSIONS = read_versions(BASE / "data/versions.csv")
except LwdnaError as error:
    raise WorkflowError(str(error))

EXPERIMENTS = config["experiments"]
# What is to be run of them. The others keep their rules: their teachers may be needed.
SELECTED = {
    name: EXPERIMENTS[name] | {"methods": methods}
    for name, methods in selected(config).items()
}
DATASETS = config["datasets"]
REPLICATION = config.get("replication", {"networks": {}})
TEACHER = "teacher"


def datasets_of(*kinds):
    """Pattern of the names of the datasets of some kinds."""
    names = [re.escape(name) for name, d in DATASETS.items() if d["kind"] in kinds]
    return "|".join(names) or "(?!)"


def downloads():
    """The files that datasets name and that are downloaded: those that are not there."""
    paths = [
        dataset[key]
        for dataset in DATASETS.values()
        for key in ("train", "test", "archive")
        if isinstance(dataset.get(key), str)
    ]
    files = {archive_of(path) or Path(path) for path in paths}
    known = {name for name, version in VERSIONS.items() if version.downloadable}
    # What is there is an input like any other: a download would be free to delete it.
    return sorted(
        str(file) for file in files if file.name in known and not file.exists()
    )


DOWNLOADS = downloads()


def begin():
    """Lock the working directory for as long as this run lasts, and be alone in it."""
    # Snakemake's own lock outlives a killed run; this one ends with the process that holds it.
    try:
        end_former_jobs(".", alone=hold(".snakemake/lwdna.lock"))
    except LwdnaError as error:
        raise WorkflowError(str(error))
    # The only thing that is read of the directory before it is locked.
    if changed := sorted(set(DOWNLOADS).symmetric_difference(downloads())):
        raise WorkflowError(
            f"Another process has just made or removed {', '.join(changed)}; start again."
        )


before_planning(workflow, begin)


wildcard_constraints:
    experiment="|".join(re.escape(name) for name in EXPERIMENTS),
    method="|".join([TEACHER, *METHODS]),
    shrinkage="|".join(name for name in SHRINKAGES if name != DHP),
    dataset="|".join(re.escape(name) for name in DATASETS),
    split="train|test",
    download="|".join(re.escape(path) for path in DOWNLOADS) or "(?!)",
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


def source_of(wildcards):
    """The folder or archive that holds a split of a dataset, or names of photographs."""
    dataset = DATASETS[wildcards.dataset]
    return dataset.get("archive", dataset.get(wildcards.split))


def source_file(wildcards):
    """The archive that a split of a dataset is read from, if it is there or is downloaded."""
    source = source_of(wildcards)
    if not isinstance(source, str):
        return []
    file = archive_of(source) or Path(source)
    # What is neither there nor downloaded is for the step to explain.
    return str(file) if file.is_file() or str(file) in DOWNLOADS else []


def stays(dataset):
    """Whether the images of a dataset are listed and left where they are."""
    return dataset["kind"] == "imagenet" or not dataset.get("packed", True)


def listing(wildcards):
    """What is in the folder that a dataset names, so that a change of it is noticed."""
    folder = source_of(wildcards)
    if not isinstance(folder, str) or not Path(folder).is_dir():
        return ""
    # Of images by the million, only the folders of classes: they note when they change.
    paths = (
        Path(folder).iterdir()
        if stays(DATASETS[wildcards.dataset])
        else (path for path in Path(folder).rglob("*") if path.is_file())
    )
    facts = [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(paths)]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def sha256_of(wildcards):
    """The check sum of a download: that of the table, or what the download has noted."""
    checksum = VERSIONS[Path(wildcards.download).name].checksum
    if checksum.startswith("sha256:"):
        return checksum.removeprefix("sha256:")
    return recorded(wildcards.download)


def pack_options(wildcards):
    """How a dataset for classification is read, for the command line."""
    dataset = DATASETS[wildcards.dataset]
    words = ["--kind", dataset["kind"], "--split", wildcards.split]
    return [*words, "--list"] if stays(dataset) else words


def task_of(wildcards):
    """The task of an experiment, for the command line."""
    return as_json(experiment(wildcards)["task"])


def output_options(wildcards, output):
    """Every output as an option, for the command line."""
    return [word for path in output for word in ("--output", path)]


def images_source(wildcards):
    """Names of photographs, or the folder or archive that holds the images."""
    source = source_of(wildcards)
    return source if isinstance(source, list) else ["--folder", source]


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


def shrink_options(wildcards):
    """The settings of shrinkage, for the command line."""
    settings = shrink_settings(experiment(wildcards), wildcards.shrinkage)
    return options(settings, sorted(settings))


def search_options(wildcards):
    """The settings of the search by DHP, for the command line."""
    settings = shrink_settings(experiment(wildcards), DHP)
    return options(settings, sorted(set(settings) - {"protocol", "histograms"}))


def search_protocol(wildcards):
    """The protocol of the search by DHP, for the command line."""
    return as_json(config["protocols"][experiment(wildcards)[DHP]["protocol"]])


def growing(megabytes):
    """Memory of a job, more at each attempt: the one before may have died of too little."""
    return lambda wildcards, attempt: megabytes * min(attempt, 3)


def shrink_memory(wildcards, attempt):
    """Megabytes: for large images, or the hypernetwork, which a second warm-up step holds."""
    section = experiment(wildcards)
    heavy = section["shrink"]["warmup_steps"] > 1 or "crop" in section["task"]
    restores = section["task"]["kind"] != "classification"
    # EfficientNet takes 8.3 GB for batches of 64 of CIFAR's images, at twice its width.
    small = 1000 + 150 * section["shrink"]["batch_size"]
    megabytes = 24000 if heavy else 8000 if restores else small
    return growing(megabytes)(wildcards, attempt)


def device(wildcards, resources):
    """The GPUs that a job was given, or the CPU, for the command line."""
    gpus = resources.get("gpu", 0)
    return ["--accelerator", "gpu" if gpus else "cpu", "--devices", str(max(1, gpus))]


def train_start(wildcards):
    """What training starts from, and the teacher, for the command line."""
    # Not of the inputs, or Snakemake would not notice a change of the network.
    shrunk, teacher = shrunk_of(wildcards), teacher_of(wildcards)
    section = experiment(wildcards)
    width = section["network"]["width"]
    if wildcards.method == TEACHER:
        width *= section["teacher"]["width"]
    words = ["--teacher", teacher] if teacher else []
    if shrunk:
        return ["--weights", shrunk, *words]
    return ["--network", as_json(section["network"] | {"width": width}), *words]


def convention(section, test_set):
    """How restored images of a test set are measured; None as the task has it."""
    own, kind = section.get("convention"), section["task"]["kind"]
    if kind == "super-resolution":
        return own or DATASETS[test_set]["convention"]
    # What is written out is no other training than what is left out.
    return None if own == kind else own


def convention_of(wildcards):
    """How the first test set is measured, for the command line."""
    section = experiment(wildcards)
    chosen = convention(section, section["test"][0])
    return ["--convention", chosen] if chosen else []


def conventions_of(wildcards):
    """By test set, how it is measured."""
    section = experiment(wildcards)
    chosen = {name: convention(section, name) for name in section["test"]}
    return as_json({name: value for name, value in chosen.items() if value})


def reference_tests(names):
    """Each test set of some experiments of restoration, with what a reference depends on there."""
    for name in names:
        section = EXPERIMENTS[name]
        if section["task"]["kind"] in REFERENCES:
            for test_set in section["test"]:
                # What is written out is no other result than what is left out.
                chosen = convention(section, test_set) or section["task"]["kind"]
                key = reference_key(section["task"], chosen)
                yield name, test_set, key, chosen


def reference_settings():
    """By the key of a reference: task and convention, for the command line."""
    return {
        key: {"task": reference_task(EXPERIMENTS[name]["task"]), "convention": chosen}
        for name, _, key, chosen in reference_tests(EXPERIMENTS)
    }


def references_of(names):
    """By experiment and test set, where the result of the reference is; of what is to be run."""
    found = {}
    for name, test_set, key, _ in reference_tests(n for n in names if n in SELECTED):
        found.setdefault(name, {})[
            test_set
        ] = f"results/references/{key}/{test_set}.csv"
    return found


def reference_files(names):
    """The files of `references_of`, each once."""
    return sorted(
        {path for tests in references_of(names).values() for path in tests.values()}
    )


def shrunk_of(wildcards):
    """The shrunk network that a run of `train` starts from."""
    shrinkage = wildcards.method != TEACHER and METHODS[wildcards.method].shrinkage
    if not shrinkage:
        return []
    folder = f"results/shrink/{wildcards.experiment}/{shrinkage}"
    return f"{folder}/seed{wildcards.seed}/network.safetensors"


def teacher_of(wildcards):
    """The trained teacher of a run of `train`."""
    teacher = experiment(wildcards).get("teacher")
    distils = wildcards.method != TEACHER and METHODS[wildcards.method].distils
    if teacher is None or not distils:
        return []
    owner = teacher.get("experiment", wildcards.experiment)
    return f"results/runs/{owner}/{TEACHER}/seed{wildcards.seed}/weights.safetensors"


def protocol_of(wildcards):
    """The training protocol of a run, for the command line."""
    return as_json(config["protocols"][experiment(wildcards)["protocol"]])


def batch_norm_flag(wildcards):
    """Whether the FLOPs of an experiment count batch norm, for the command line."""
    counts = experiment(wildcards)["count_batch_norm"]
    return "--count-batch-norm" if counts else "--no-count-batch-norm"


def scale(wildcards):
    """The label of a run that is not at the paper's scale, for the command line."""
    # A function, so that braces are text.
    return ["--scale", config["scale"]] if config["scale"] else []


def pictured():
    """The experiments that figures show: those that are more than an ablation of rho and tau."""
    return [name for name, section in EXPERIMENTS.items() if section["tables"] != [3]]


def histories():
    """The training history of every run that figures show."""
    return [
        f"results/runs/{name}/{method}/seed{seed}/history.csv"
        for name in pictured()
        if name in SELECTED
        for method in SELECTED[name]["methods"]
        # Figure 1 of the supplement has no other.
        if method in ("baseline", "baseline-kd", "lw-dna")
        for seed in SELECTED[name]["seeds"]
    ]


def metrics_of(names):
    """The metrics of some experiments, of every method that is to be run."""
    return [
        f"results/runs/{name}/{method}/metrics.csv"
        for name in names
        if name in SELECTED
        for method in SELECTED[name]["methods"]
    ]


def of_table(number):
    """The experiments of a table."""
    return [name for name, e in EXPERIMENTS.items() if int(number) in e["tables"]]


def restoring():
    """The experiments with images to look at, where both networks are trained."""
    wanted = {"baseline", "lw-dna"}
    return [
        name
        for name, e in SELECTED.items()
        if e["task"]["kind"] != "classification" and wanted <= set(e["methods"])
    ]


def weights_of(name, method):
    """The trained networks of a method, one for each seed."""
    return [
        f"results/runs/{name}/{method}/seed{seed}/weights.safetensors"
        for seed in EXPERIMENTS[name]["seeds"]
    ]


def strip_networks(wildcards):
    """By title the trained networks that a strip shows, of the first seed."""
    return {
        METHODS[method].title: weights_of(wildcards.experiment, method)[0]
        for method in ("baseline", "lw-dna")
    }


def strip_options(wildcards):
    """Which image a strip shows, and which part of it, for the command line."""
    chosen = experiment(wildcards).get("strip", {})
    centre = ["--centre", *map(str, chosen["centre"])] if "centre" in chosen else []
    return options(chosen, ("image", "size")) + centre


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
        f"results/shrink/{name}/lw-dna/seed{seed}/channels.csv"
        for name in shrunk_experiments()
        if "lw-dna" in SELECTED.get(name, {}).get("methods", ())
        for seed in EXPERIMENTS[name]["seeds"]
    ]


def labels_of_runs(paths):
    """By path of a run's file: experiment, method and seed, read off the path."""
    pattern = re.compile(
        r"(?:.*/)?results/(?:runs|shrink)/([^/]+)/([^/]+)/seed(\d+)/[^/]+"
    )
    found = {str(path): pattern.fullmatch(str(path)).groups() for path in paths}
    return as_json(
        {
            path: {"experiment": name, "method": method, "seed": int(seed)}
            for path, (name, method, seed) in found.items()
        }
    )


def comparable(name):
    """The shrinkages of an experiment whose channels can be compared, if there are two."""
    section = SELECTED.get(name, {"methods": ()})
    asked = [s for s in shrinkages_of(section["methods"]) if s in COMPARABLE]
    # Of the same widened network; a search may have a width of its own.
    found = [
        s
        for s in asked
        if shrink_settings(section, s)["widen"] == section["shrink"]["widen"]
    ]
    return found if len(found) > 1 else []


def compared_experiments():
    """The experiments with criteria to compare."""
    return [name for name in EXPERIMENTS if comparable(name)]


def kept_channels():
    """The channels that the criteria kept."""
    return [
        f"results/shrink/{name}/{shrinkage}/seed{seed}/network.safetensors"
        for name in compared_experiments()
        for shrinkage in comparable(name)
        for seed in EXPERIMENTS[name]["seeds"]
    ]


def searched():
    """The experiments with a search by DHP to draw as Figure 3."""
    return [
        name
        for name, section in SELECTED.items()
        if DHP in shrinkages_of(section["methods"]) and "histograms" in section[DHP]
    ]


def histogram_options(wildcards):
    """Layers and epochs of Figure 3, for the command line."""
    chosen = experiment(wildcards)[DHP]["histograms"]
    return [
        word
        for name in ("layers", "epochs")
        for number in chosen[name]
        for word in (f"--{name}", str(number))
    ]


def tables(numbers=TABLES):
    """The files of some tables, or of all."""
    return expand(
        "results/tables/table{table}.{kind}", table=numbers, kind=["csv", "md", "html"]
    )


def agreement():
    """The comparison of the criteria, if there is one."""
    if not compared_experiments():
        return []
    return expand("results/tables/agreement.{kind}", kind=["csv", "md", "html"])


def figures():
    """Every figure."""
    names = [
        "training-logs",
        "remaining-channels",
        *(f"strip-{name}" for name in restoring()),
        *(f"latents-{name}" for name in searched()),
        *(["agreement"] if compared_experiments() else []),
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
