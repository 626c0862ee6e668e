"""Sets of videos as datasets: listed, opened again, and what is amiss."""

import json

import pytest
from test_sequences import MINIATURES

from lwdna.config.read import read_rules
from lwdna.data.catalog import DATASET_KINDS
from lwdna.data.listings import fingerprint
from lwdna.data.sequence_files import SYNTHETIC, frames_of
from lwdna.data.sequence_layouts import LAYOUTS
from lwdna.data.sequence_sets import lay_out, open_sets
from lwdna.errors import ConfigError, DataError

MADE = {
    "layout": SYNTHETIC,
    "photographs": ["chelsea", "china"],
    "videos": 2,
    "motion": {"frames": 6, "height": 60, "width": 80, "smallest": 12.0, "largest": 16.0},
}


def test_the_schema_knows_every_layout():
    part = read_rules()["$defs"]["part"]["properties"]
    assert set(part["layout"]["enum"]) == {*LAYOUTS, SYNTHETIC}


def test_a_dataset_of_several_sets(tmp_path):
    for kind in ("lasot", "got10k"):
        MINIATURES[kind](tmp_path / kind)
    sets = [
        {"layout": "lasot", "folder": str(tmp_path / "lasot"), "weight": 0.25},
        {"layout": "got10k", "folder": str(tmp_path / "got10k"), "split": "val"},
        MADE,
    ]
    listing = tmp_path / "train.json"
    DATASET_KINDS["sequences"].make(sets, listing, split="train")
    opened = open_sets(listing)
    assert [(one.layout, one.weight, len(one.videos)) for one in opened] == [
        ("lasot", 0.25, 1),
        ("got10k", 1.0, 1),
        (SYNTHETIC, 1.0, 2),
    ]
    assert [one.videos[0].name for one in opened[:2]] == ["cat-2", "GOT-10k_val_000001"]
    assert len(opened[2].videos[0]) == 6


def test_a_listing_tells_its_videos_from_others(tmp_path):
    """The same bytes of the same videos; another number for other ones, or another truth."""
    MINIATURES["otb100"](tmp_path / "otb")
    sets = [{"layout": "otb100", "folder": str(tmp_path / "otb")}]
    one, two = tmp_path / "1.json", tmp_path / "2.json"
    for path in (one, two):
        lay_out(sets, path, split="test")
    assert one.read_bytes() == two.read_bytes()
    known = fingerprint(one)
    lay_out([{**sets[0], "weight": 0.5}], two, split="test")
    assert fingerprint(two) != known  # samples are drawn otherwise
    truth = tmp_path / "otb/Car4/groundtruth_rect.txt"
    truth.write_text(truth.read_text().replace("12", "13"))
    lay_out(sets, two, split="test")
    assert fingerprint(two) != known
    moved = {**MADE, "motion": {**MADE["motion"], "rotation": 0.1}}
    found = set()
    for made in (MADE, moved, {**MADE, "seed": 1}):
        lay_out([made], two, split="test")
        found.add(fingerprint(two))
    assert len(found) == 3


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"photographs": None}, "lacks 'photographs'"),
        ({"folder": "here"}, "takes no 'folder'"),
        ({"layout": "lasot", "folder": None}, "layout 'lasot' lacks 'folder'"),
        ({"photographs": ["chelsea", "nobody"]}, "'nobody' does not exist"),
        ({"photographs": ["chelsea"]}, "give two or more"),
    ],
)
def test_sets_that_cannot_be(change, sentence, tmp_path):
    made = {name: value for name, value in {**MADE, **change}.items() if value is not None}
    with pytest.raises((ConfigError, DataError), match=sentence):
        lay_out([made], tmp_path / "train.json", split="train")
    assert not [*tmp_path.iterdir()]


def test_videos_of_one_name_in_a_test(tmp_path):
    with pytest.raises(DataError, match="2 videos of a test set are called 'synthetic-00000'"):
        lay_out([MADE, {**MADE, "seed": 1}], tmp_path / "test.json", split="test")
    lay_out([MADE, {**MADE, "seed": 1}], tmp_path / "train.json", split="train")


@pytest.mark.parametrize(
    "content", ["", "{}", "[1]", '{"format": "lwdna-sequences", "version": 0}']
)
def test_a_listing_that_is_none(content, tmp_path):
    path = tmp_path / "test.json"
    path.write_text(content)
    with pytest.raises(DataError, match="no listing of videos of this version"):
        open_sets(path)
    path.unlink()
    with pytest.raises(DataError, match="is missing"):
        open_sets(path)


def test_how_many_frames_a_plan_counts():
    assert frames_of(json.loads(json.dumps(MADE)), "test") == 12
    assert frames_of({"layout": "got10k", "split": "val"}, "test") == 21_000
    assert frames_of({"layout": "got10k"}, "test") == 23_000
    assert frames_of({"layout": "coco"}, "train") == 0
