"""The workflow in environments of conda: a stand-in solves and links them, see channel.py."""

import json
import os
import re

import pytest
import yaml
from imports import ROOT

TINY = ROOT / "tests/pipeline/tiny.yaml"
DIGITS = "results/data/digits/train.h5"
CONDA = ("--software-deployment-method", "conda", "--conda-prefix")


@pytest.fixture(scope="session")
def environments(conda, run, tmp_path_factory):
    """The environments of the workflow, made beforehand, as for a cluster without internet."""
    folder = tmp_path_factory.mktemp("some environments")
    status, output = run(
        folder.parent, "--conda-create-envs-only", *CONDA, folder, "--directory", folder, env=conda
    )
    assert status == 0, output
    return folder


def test_steps_run_in_an_environment_of_their_own(conda, environments, run, tmp_path):
    """With spaces in the paths, in another directory than the workflow's."""
    folder = tmp_path / "a working directory"
    folder.mkdir()
    before = sorted(environments.iterdir())
    target = "results/shrink/digits/lw-dna/seed0/network.safetensors"
    status, output = run(
        folder, *CONDA, environments, "--configfile", TINY, "--", target, env=conda
    )
    assert status == 0, output
    assert (folder / target).stat().st_size > 10_000
    assert output.count("Activating conda environment") == 2, output  # digits, shrink
    assert sorted(environments.iterdir()) == before, "environments were made once more"


@pytest.mark.skipif("LWDNA_TEST_CONDA" not in os.environ, reason="minutes; make test-conda")
def test_a_whole_run_gives_the_same_bytes(conda, environments, run, tmp_path):
    """From images and digits to tables and figures, with conda and without."""
    content = yaml.safe_load(TINY.read_text())
    experiments = content["experiments"]
    experiments.pop("super-resolution")
    experiments["digits"]["methods"] = ["lw-dna"]
    config = tmp_path / "tiny.yaml"
    config.write_text(yaml.safe_dump(content))
    made = {}
    for name, options in (("with conda", (*CONDA, environments)), ("without", ())):
        folder = tmp_path / name
        folder.mkdir()
        status, output = run(folder, *options, "--configfile", config, env=conda)
        assert status == 0, output
        patterns = ("tables/*", "runs/**/*.*", "shrink/**/*.*", "complexity.csv", "figures/*.png")
        paths = sorted(path for p in patterns for path in (folder / "results").glob(p))
        made[name] = {str(path.relative_to(folder)): path.read_bytes() for path in paths}
    assert {"results/tables/table1.md", "results/figures/strip-denoising.png"} <= set(
        made["without"]
    )
    assert made["with conda"] == made["without"]


def test_nothing_leaks_into_the_environment(conda, environments, run, tmp_path):
    """What Snakemake needs and pip installed beside it is not there; the package is."""
    (tmp_path / "Snakefile").write_text(
        f"""
include: {str(ROOT / "Snakefile")!r}
rule look:
    output: "seen.json"
    conda: {str(ROOT / "envs/lwdna.yaml")!r}
    shell: "python look.py"
"""
    )
    (tmp_path / "look.py").write_text(
        """
import json, os, sys
from importlib.util import find_spec
modules = ["torch", "lightning_fabric", "lwdna", "snakemake", "pytest", "onnx", "rattler"]
seen = {name: find_spec(name) is not None for name in modules}
variables = {name: os.environ.get(name) for name in ("CONDA_PREFIX", "PYTHONNOUSERSITE")}
json.dump({"modules": seen, "path": sys.path, **variables}, open("seen.json", "w"))
"""
    )
    status, output = run(
        tmp_path, *CONDA, environments, "seen.json", snakefile=tmp_path / "Snakefile", env=conda
    )
    assert status == 0, output
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert [name for name, there in seen["modules"].items() if there] == [
        "torch",
        "lightning_fabric",
        "lwdna",
    ]
    assert seen["CONDA_PREFIX"].startswith(str(environments)) and seen["PYTHONNOUSERSITE"] == "1"
    packages = [path for path in seen["path"] if path.endswith("-packages")]
    assert packages and all(path.startswith(seen["CONDA_PREFIX"]) for path in packages)


@pytest.fixture
def changed(copy_workflow, tmp_path):
    """Copy the workflow with a change of what its environment depends on."""
    copy = copy_workflow(tmp_path / "a copy")

    def changed(change):
        path = copy / "envs/lwdna.yaml"
        environment = yaml.safe_load(path.read_text())
        environment["dependencies"] = change(environment["dependencies"])
        path.write_text(yaml.safe_dump(environment))
        return copy / "Snakefile"

    return changed


def test_a_package_that_is_not_in_the_environment_is_missed(conda, run, changed, tmp_path):
    """Although it is installed where Snakemake runs."""
    snakefile = changed(lambda specs: [s for s in specs if not s.startswith("h5py")])
    options = (*CONDA, tmp_path / "envs", "--configfile", TINY)
    status, output = run(tmp_path, *options, "--", DIGITS, snakefile=snakefile, env=conda)
    assert status == 1 and "No module named 'h5py'" in output
    assert not (tmp_path / DIGITS).exists()


def test_an_environment_that_cannot_be_made_stops_the_run(conda, run, changed, tmp_path):
    snakefile = changed(lambda specs: [*specs, "tqdm>=1000"])
    options = (*CONDA, tmp_path / "envs", "--configfile", TINY)
    status, output = run(tmp_path, *options, "--", DIGITS, snakefile=snakefile, env=conda)
    assert status == 1
    assert "Could not create conda environment" in output and "tqdm >=1000" in output
    assert not (tmp_path / "results").exists()


def test_the_environments_can_be_put_into_a_container(conda, run, tmp_path):
    status, output = run(tmp_path, "--containerize", env=conda)
    assert status == 0, output
    recipe = output[output.index("FROM condaforge/miniforge3") :]
    specs = yaml.safe_load((ROOT / "envs/lwdna.yaml").read_text())["dependencies"]
    assert all(f"#     - {spec}\n" in recipe for spec in specs)
    assert re.search(r"^RUN conda env create .*/environment.yaml", recipe, re.MULTILINE)
    assert not (tmp_path / "results").exists()
