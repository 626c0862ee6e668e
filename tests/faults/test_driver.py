"""A few runs of the fault driver on the light steps; `make test-faults` runs it in earnest."""

import random

import driver
import pytest
from click.testing import CliRunner
from disks import ReadOnly
from driver import CRASHED, RECOVERED, REFUSED, WRONG, Report, outcome_of, summary
from faults import KINDS, ORDER
from files import HOUR_S, Damage, date, date_now
from pipeline import LIGHT, Tree, golden_tree, sentences
from processes import Kill, NeverReaped, Twice
from stages import STAGES, remove


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    return golden_tree(tmp_path_factory.mktemp("faults"), LIGHT)


def at(stage, fault, **settings):
    """A fault that strikes where a test wants it."""
    fault.stage = stage
    for name, value in settings.items():
        setattr(fault, name, value)
    return fault


STORE = {"kind": "store", "name": "results/data/photographs/colour.h5", "silent": True}
FAULTS = {
    "a job is killed": (lambda rng: at("crop", Kill(rng, "job")), (RECOVERED,)),
    "nobody reaps what a kill leaves": (
        lambda rng: at("crop", NeverReaped(rng), victim="snakemake", orphans=False),
        (RECOVERED,),
    ),
    # The second is refused, or finds that the first has done it all.
    "it is started twice": (lambda rng: at("crop", Twice(rng)), (REFUSED, RECOVERED)),
    "a byte of a store has changed": (
        lambda rng: at("gray", Damage(rng, "flip", None), place=0.5, **STORE),
        (REFUSED,),
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_nothing_is_lost(golden, tmp_path, name):
    make, outcomes = FAULTS[name]
    tree = golden.copy(tmp_path / "a run")
    found = None
    try:
        for hurry in (1, 0.3, 0.05):
            found = found or outcome_of(tree, make(random.Random(0)), hurry, golden.products())
    finally:
        tree.end_processes()
    assert found.outcome in outcomes, "\n".join(found.story)
    assert found.leftovers == 0


def test_a_changed_product_is_called_wrong(golden, tmp_path):
    """The driver itself: what it must not overlook."""
    tree = golden.copy(tmp_path / "a run")
    gray = tree.folder / "results/data/photographs/gray.h5"
    data = bytearray(gray.read_bytes())
    data[-1] ^= 1
    gray.write_bytes(data)
    assert tree.differences(golden.products(), complete=True) == [
        "results/data/photographs/gray.h5 differs"
    ]
    gray.unlink()
    assert tree.differences(golden.products(), complete=False) == []
    assert tree.differences(golden.products(), complete=True) == [
        "results/data/photographs/gray.h5 is missing"
    ]


def test_a_product_put_back_from_an_earlier_day_is_refused_until_somebody_decides(golden, tmp_path):
    tree = golden.copy(tmp_path / "a run")
    remove(tree, "gray")
    name = "results/data/photographs/colour.h5"
    date(tree, -86400)  # what it was made of, too, which Snakemake would take for new otherwise
    status, output = tree.run()
    (said,) = sentences(output)
    assert status != 0 and f"'{name}' is dated" in said and "an older file was put" in said
    assert not (tree.folder / "results/data/photographs/gray.h5").exists()
    (tree.folder / name).touch()
    assert tree.run()[0] == 0


def test_a_clock_put_back_is_said_before_anything_is_computed(golden, tmp_path):
    tree = golden.copy(tmp_path / "a run")
    remove(tree, "gray")
    date_now(tree)
    date(tree, HOUR_S)
    status, output = tree.run()
    (said,) = sentences(output)
    assert status != 0 and "the clock was put back" in said
    assert not (tree.folder / "results/data/photographs/gray.h5").exists()
    date(tree, -HOUR_S)
    assert tree.run()[0] == 0


class VanishingTree(Tree):
    """One whose pipeline removes the folders of what it is asked for."""

    def run(self, **_):
        for name in self.targets:
            (self.folder / name).parent.rmdir()
        return 0, ""


def test_a_read_only_folder_may_be_gone_afterwards(tmp_path):
    (name,) = STAGES["gray"]
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).touch()
    fault = at("gray", ReadOnly(random.Random(0)))
    found = set()
    for share in range(10):
        fault.share = share / 10
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
        for folder in (".snakemake", "results/logs"):
            (tmp_path / folder).mkdir(exist_ok=True)
        found.add(fault.strike(VanishingTree(tmp_path), 1.0).what.rpartition(": ")[2])
    assert "results/data/photographs" in found
    assert tmp_path.stat().st_mode & 0o200


def test_a_run_that_the_driver_cannot_make_does_not_end_the_others(tmp_path, monkeypatch):
    """And a later call makes those alone that are missing."""
    struck = []

    class Broken:
        def __init__(self, *_):
            struck.append(len(struck))
            raise OSError("no such thing")

    (tmp_path / "ready").touch()
    (tmp_path / "project").mkdir()
    (tmp_path / "project/COMMIT").write_text("abc")
    (tmp_path / "golden").mkdir()
    monkeypatch.setattr(
        driver, "golden_tree", lambda work: Tree(work / "golden", (), work / "project")
    )
    for kind in KINDS:
        monkeypatch.setitem(KINDS, kind, Broken)
    out, stop = tmp_path / "runs.csv", tmp_path / "stop"
    command = ["--work", str(tmp_path), "--out", str(out), "--seeds", "2", "--stop", str(stop)]
    assert CliRunner().invoke(driver.main, [*command, "--runs", "2"]).exit_code == 1
    assert [(r.seed, r.number, r.outcome) for r in driver.read(out)] == [
        (seed, number, CRASHED) for seed in (0, 1) for number in (0, 1)
    ]
    CliRunner().invoke(driver.main, [*command, "--runs", "3"])
    assert [(r.seed, r.number) for r in driver.read(out)][4:] == [(0, 2), (1, 2)]
    stop.touch()
    CliRunner().invoke(driver.main, [*command, "--runs", "9"])
    assert len(struck) == 6


def test_every_kind_has_its_turn():
    assert set(ORDER) == set(KINDS)


def test_the_summary_counts_what_is_wrong():
    reports = [
        Report(RECOVERED, "flip a", [], 0, seed=3, number=0, kind="flip"),
        Report(WRONG, "flip b", ["story"], 1, seed=3, number=7, kind="flip"),
    ]
    text = "\n".join(summary(reports, 60.0))
    assert "2 runs, seed 3" in text and "run 7, flip b: repeat it by --seed 3 --only 7" in text
