"""A few runs of the fault driver on the light steps; `make test-faults` runs it in earnest."""

import random

import pytest
from driver import RECOVERED, REFUSED, WRONG, outcome_of, summary
from faults import Damage, Kill
from pipeline import LIGHT, golden_tree


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
    "a job is killed": (lambda rng: at("crop", Kill(rng, "job")), RECOVERED),
    "a byte of a store has changed": (
        lambda rng: at("gray", Damage(rng, "flip", None), place=0.5, **STORE),
        REFUSED,
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_nothing_is_lost(golden, tmp_path, name):
    make, outcome = FAULTS[name]
    tree = golden.copy(tmp_path / "a run")
    found = None
    for hurry in (1, 0.3, 0.05):
        found = found or outcome_of(tree, make(random.Random(0)), hurry, golden.products())
    assert found.outcome == outcome, "\n".join(found.story)
    assert found.leftovers == 0


def test_a_changed_product_is_called_wrong(golden, tmp_path):
    """The driver itself: what it must not overlook."""
    tree = golden.copy(tmp_path / "a run")
    gray = tree.folder / "results/data/photographs/gray.h5"
    data = bytearray(gray.read_bytes())
    data[-1] ^= 1
    gray.write_bytes(data)
    assert tree.differences(golden.products(), complete=True) == [
        "data/photographs/gray.h5 differs"
    ]
    gray.unlink()
    assert tree.differences(golden.products(), complete=False) == []
    assert tree.differences(golden.products(), complete=True) == [
        "data/photographs/gray.h5 is missing"
    ]


def test_the_summary_counts_what_is_wrong():
    from driver import Report

    reports = [
        Report(RECOVERED, "flip a", [], 0, number=0, kind="flip"),
        Report(WRONG, "flip b", ["story"], 1, number=7, kind="flip"),
    ]
    text = "\n".join(summary(reports, 3, 60.0))
    assert "2 runs, seed 3" in text and "run 7, flip b: repeat it by --seed 3 --only 7" in text
