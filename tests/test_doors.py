"""A network, a dataset, a task and a rival are each one file and one line, as a page adds them."""

import difflib
import math
import re

import pandas as pd
import pytest
import yaml
from pages import Shell, follow
from running import ROOT, TINY, copy_project
from test_house import against_the_rules

from lwdna.config.check import check
from lwdna.config.methods import METHODS, SEARCHES, SHRINKAGES, Method, Search, shrink_settings
from lwdna.errors import ConfigError

PAGE = (ROOT / "docs/extending.md").read_text()
SECTIONS = dict(re.findall(r"^## (.*)\n((?:(?!^## ).*\n)*)", PAGE, re.MULTILINE))
DOORS = ("A network", "A dataset", "A task", "A rival")


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A shell in a copy of the project into which the page was laid, and what each door took."""
    place = tmp_path_factory.mktemp("doors")
    copy = place / "the project"
    copy_project(copy)
    shell = Shell(copy, place / "bin", copy)
    took = {}
    for door in DOORS:
        before = files(copy)
        assert follow(SECTIONS[door], shell) == {"python": 2}
        took[door] = changes(before, files(copy))
    return shell, took


def files(folder):
    """The lines of every file of text, by its path."""
    suffixes = {".py", ".smk", ".yaml", ".csv", ".rst", ""}
    return {
        str(path.relative_to(folder)): path.read_text().splitlines()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix in suffixes
    }


def changes(before, after):
    """The files that are new, and by path the lines that were added or removed in the others."""
    assert set(before) <= set(after)
    lines = {
        path: [line for line in difflib.ndiff(before[path], after[path]) if line[0] in "+-"]
        for path in before
        if before[path] != after[path]
    }
    return {path: after[path] for path in set(after) - set(before)}, lines


@pytest.mark.parametrize("door", DOORS)
def test_a_door_is_one_file_and_one_line(house, door):
    new, changed = house[1][door]
    ((path, lines),) = new.items()
    assert len(lines) <= 40
    assert list(against_the_rules(path.removeprefix("lwdna/"), "\n".join(lines))) == []
    ((_, diff),) = changed.items()
    assert len(diff) == 1 and diff[0].startswith("+ ") and len(diff[0]) <= 102


def test_all_four_come_to_rows_of_a_table(house):
    pytest.importorskip("snakemake")
    shell, _ = house
    assert follow(SECTIONS["All four in a run"], shell) == {
        "python": 1,
        "yaml": 1,
        "sh": 2,
        "text": 1,
    }
    table = pd.read_csv(shell.folder / "results/tables/inpainting.csv")
    baseline, rival = (row for _, row in table.iterrows())
    for row, title in ((baseline, "Baseline"), (rival, "Every other")):
        assert (row["network"], row["method"], row["test_set"]) == ("TwoLayers", title, "slopes")
        assert row["status"] == "run" and math.isfinite(row["psnr_db_mean"])
        assert -1 <= row["ssim_mean"] <= 1 and row["params_m"] > 0
    assert rival["flops_g"] <= baseline["flops_g"] / 2


def test_the_section_of_a_search_need_not_be_described(monkeypatch):
    search = Search(home="rivals.mine:Mine", about="Search by mine.")
    for table in (SHRINKAGES, SEARCHES):
        monkeypatch.setitem(table, "mine", search)
    monkeypatch.setitem(METHODS, "mine", Method("Mine", search))
    config = yaml.safe_load(TINY.read_text())
    experiment = config["experiments"]["digits"]
    del config["experiments"]["tracking"]  # whose backbones are of its methods
    experiment["methods"], experiment["mine"] = ["mine"], {"protocol": "search", "strength": 3}
    complete = check(config)["experiments"]["digits"]
    assert shrink_settings(complete, "mine")["strength"] == 3
    del experiment["mine"]["protocol"]
    with pytest.raises(ConfigError, match=r"lacks 'protocol' at experiments\.digits\.mine"):
        check(config)
    experiment["mien"] = experiment.pop("mine")
    with pytest.raises(ConfigError, match="did you mean 'mine'"):
        check(config)
