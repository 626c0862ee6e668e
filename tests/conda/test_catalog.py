"""The workflow as others find and use it: the catalog, snakedeploy, a module of a workflow."""

import os
import shutil
import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import running
import yaml
from imports import ROOT

from lwdna.io.locks import lock


def jobs(output):
    """The number of jobs by rule that a dry run would run, but for the target itself."""
    return {
        name: n
        for name, n in running.planned(output).items()
        if name.split("_")[-1] not in ("all", "everything")
    }


@pytest.fixture(scope="session")
def hub(copy_workflow, tmp_path_factory):
    """What makes git take a copy of the repository for one at github.com."""
    folder = tmp_path_factory.mktemp("hub")
    repository = copy_workflow(folder / "someone/lwdna")
    settings = {f"url.file://{folder}/.insteadOf": "https://github.com/"}
    settings |= {"user.name": "Someone", "user.email": "someone@example.org"}
    env = {"GIT_CONFIG_COUNT": str(len(settings)), "GIT_CONFIG_GLOBAL": os.devnull}
    for i, (key, value) in enumerate(settings.items()):
        env |= {f"GIT_CONFIG_KEY_{i}": key, f"GIT_CONFIG_VALUE_{i}": value}
    for command in (["init"], ["add", "--all"], ["commit", "-m", "All"], ["tag", "v1.0.0"]):
        subprocess.run(
            ["git", *command], cwd=repository, env=os.environ | env, check=True, capture_output=True
        )
    return {"GITHUB_TOKEN": "", **env}


@pytest.fixture(scope="session")
def planned(run, tmp_path_factory):
    """The jobs of the default configuration, by the Snakefile of the repository."""
    status, output = run(tmp_path_factory.mktemp("planned"), "-n")
    assert status == 0, output
    return jobs(output)


def module(folder, *lines):
    """A workflow that has nothing but this one as a module."""
    (folder / "config").mkdir()
    shutil.copy(ROOT / "config.yaml", folder / "config")
    path = folder / "Snakefile"
    lines = [f"    {line}" for line in (*lines, "config: config")]
    text = ['configfile: "config/config.yaml"', "module lwdna:", *lines, "use rule * from lwdna"]
    path.write_text("\n".join(text) + "\n")
    return path


def test_both_doors_lead_to_the_same_jobs(run, planned, tmp_path):
    assert sum(planned.values()) > 50
    status, output = run(tmp_path, "-n", snakefile=ROOT / "workflow/Snakefile")
    assert status == 0 and jobs(output) == planned, output


HERE = f"snakefile: {str(ROOT / 'workflow/Snakefile')!r}"


def test_as_a_module_the_jobs_are_the_same(run, planned, tmp_path):
    path = module(tmp_path, HERE)
    status, output = run(tmp_path, "-n", snakefile=path)
    assert status == 0 and jobs(output) == planned, output


def test_a_module_may_have_other_names(run, planned, tmp_path):
    path = module(tmp_path, HERE)
    path.write_text(path.read_text().replace("from lwdna", "from lwdna as other_*"))
    status, output = run(tmp_path, "-n", snakefile=path)
    assert status == 0, output
    assert jobs(output) == {f"other_{name}": n for name, n in planned.items()}


def test_a_module_has_no_prefix(run, tmp_path):
    path = module(tmp_path, HERE, 'prefix: "another/place"')
    status, output = run(tmp_path, "-n", snakefile=path)
    assert status == 1 and "leave it out, and run in the folder that is meant" in output


def test_snakedeploy_deploys_what_runs(run, planned, hub, tmp_path):
    """As the catalog tells: deploy a release, then run it; here no further than a data set."""
    folder = tmp_path / "a project"
    folder.mkdir()
    subprocess.run(
        [
            *(Path(sys.executable).with_name("snakedeploy"), "deploy-workflow"),
            *("https://github.com/someone/lwdna", str(folder), "--tag", "v1.0.0"),
        ],
        env=os.environ | hub,
        check=True,
        capture_output=True,
    )
    assert not (folder / "config/config.yaml").is_symlink()
    assert (folder / "config/config.yaml").read_text() == (ROOT / "config.yaml").read_text()
    status, output = run(folder, "-n", snakefile=None, env=hub)
    assert status == 0 and jobs(output) == planned, output
    assert "Cloning github.com/someone/lwdna" in output
    target = "results/data/digits/train.h5"
    status, output = run(folder, target, snakefile=None, env=hub)
    assert status == 0, output
    assert (folder / target).stat().st_size > 1000
    (used,) = (folder / ".cache").rglob("lwdna/__init__.py")
    status = subprocess.check_output(["git", "describe", "--tags"], cwd=used.parent, text=True)
    assert status == "v1.0.0\n", "the package is not that of the release"


def test_as_a_module_a_second_run_at_once_is_refused(run, tmp_path):
    path = module(tmp_path, HERE)
    with lock(tmp_path / ".snakemake/lwdna.lock", wait=False):
        status, output = run(tmp_path, "results/data/digits/train.h5", snakefile=path)
    assert status == 1 and "Another run" in output
    assert not (tmp_path / "results").exists()


def test_a_module_from_a_web_server_is_refused(run, tmp_path):
    """From there Snakemake reads single files, so that the package cannot be had."""
    handler = partial(SimpleHTTPRequestHandler, directory=ROOT)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        path = module(tmp_path, f'snakefile: "http://127.0.0.1:{server.server_port}/Snakefile"')
        status, output = run(tmp_path, "-n", snakefile=path)
        server.shutdown()
    assert status == 1 and "lwdna cannot be a module from 'http://127.0.0.1" in output


def test_what_the_catalog_asks_for_is_there():
    settings = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert settings["software-stack-deployment"]["conda"] and settings["report"]
    readme = (ROOT / "README.md").read_text().lower()
    assert "snakemake" in readme and "workflow" in readme
    assert (ROOT / "config/README.md").is_file() and (ROOT / "config/config.yaml").is_file()
    schema = ROOT / "workflow/schemas/config.schema.yaml"
    assert schema.resolve() == (ROOT / "config/schema.yaml").resolve()
