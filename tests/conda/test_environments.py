"""Environments: everything that a rule's code imports is in them, and nothing else."""

import re
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest
from channel import conda_name
from imports import (
    DISTRIBUTIONS,
    ROOT,
    imported,
    names_in,
    needs_of,
    rules,
    specs_of,
)
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from rattler import MatchSpec

RULES = rules()
ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))


@pytest.mark.parametrize("rule", RULES)
def test_an_environment_has_what_its_rule_imports(rule, record_property):
    environment, step = RULES[rule]
    needed = needs_of(step)
    line = f"{rule:<20} {environment.name:<12} {step:<18} {' '.join(sorted(needed))}"
    record_property("imports", line)
    missing = sorted(needed - set(specs_of(environment)))
    assert not missing, f"rule {rule} imports {missing}: add them to envs/{environment.name}"


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda path: path.name)
def test_an_environment_has_nothing_that_no_rule_imports(environment):
    needed = {"python"}
    for used, step in RULES.values():
        if used == environment:
            needed |= needs_of(step)
    assert set(specs_of(environment)) - needed == set()


def test_imports_are_seen_wherever_they_are(tmp_path):
    source = """
from __future__ import annotations
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import for_types
else:
    import otherwise
def later():
    import lazy.inner as name
    from late import thing
    lwdna.build("ResNet20")
    find_spec("looked_for")
"""
    found = set(names_in(source)) - {"__future__", "typing"}
    assert {"otherwise", "lazy.inner", "late", "lwdna.build", "looked_for"} <= found
    assert "for_types" not in found
    # Through a chain of modules: the step, evaluation, metrics.
    assert "scikit-image" in needs_of("evaluate") and "scikit-image" not in needs_of("table")


def test_snakemake_brings_what_the_snakefiles_import():
    """They run in Snakemake's own environment, where nothing else need be installed."""
    brought = {canonicalize_name(Requirement(text).name) for text in requires("snakemake")}
    ours, others = set(), set()
    for file in (ROOT / "Snakefile", *(ROOT / "rules").glob("*.smk")):
        lines = re.findall(
            r"^ *((?:from \S+ )?import (?:\([^)]*\)|.*))$", file.read_text(), re.MULTILINE
        )
        for name in names_in("\n".join(lines)):
            (ours if name.startswith("lwdna") else others).add(name)
    modules = {name for name in ours if (ROOT / f"{name.replace('.', '/')}.py").exists()}
    assert "lwdna.workflow.snakemake" in modules
    packages = {name.split(".")[0] for name in others} - set(sys.stdlib_module_names)
    packages |= imported(modules)
    used = {canonicalize_name(DISTRIBUTIONS[name][0]) for name in packages}
    assert "jsonschema" in used
    assert used - brought - {"snakemake"} == set()


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda path: path.name)
def test_specs_can_be_read_and_their_packages_exist(environment):
    names = (Path(__file__).parent / "conda-forge-names.txt").read_text().splitlines()
    for name, spec in specs_of(environment).items():
        read = MatchSpec(spec, strict=True)
        assert read.version is not None, f"{spec} has no version"
        assert name in names, f"{name}: see that conda-forge has it, then add it to the list"


def test_what_make_installs_is_enough_for_reports():
    wanted = {
        Requirement(text).name.lower()
        for text in requires("snakemake") or ()
        if 'extra == "reports"' in text
    }
    pinned = re.findall(r"^[\w.-]+", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert wanted and wanted <= {name.lower() for name in pinned}


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda path: path.name)
def test_versions_are_between_what_is_allowed_and_what_is_tested(environment):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    allowed = {
        conda_name(r.name): next(iter(r.specifier)).version
        for r in map(Requirement, project["dependencies"])
    }
    tested = {
        conda_name(r.name): Version(next(iter(r.specifier)).version)
        for r in map(
            Requirement, re.findall(r"^\w.*", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
        )
    }
    specs = specs_of(environment)
    assert specs.pop("python").startswith("python" + project["requires-python"])
    for name, spec in specs.items():
        above = f"{tested[name].major}.{tested[name].minor + 1}"
        assert spec == f"{name}>={allowed[name]},<{above}"
