"""The layouts of data sets of tracking, each on a miniature of three frames, and what is amiss."""

import json

import numpy as np
import pytest

from lwdna.data.images import write_image
from lwdna.data.sequence_layouts import LAYOUTS
from lwdna.data.sequences import folder_of_frames, open_sequences
from lwdna.errors import ConfigError, DataError

BOXES = "10,20,30,40\n11,20,30,40\n12,20,30,40\n"


def text(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def frames(folder, names):
    for number, name in enumerate(names):
        write_image(folder / name, np.full((60, 80, 3), number, np.uint8))


def numbered(folder, first=1, count=3, digits=4):
    frames(folder, [f"{first + i:0{digits}d}.png" for i in range(count)])


def otb100(root):
    numbered(root / "Car4/img")
    text(root / "Car4/groundtruth_rect.txt", BOXES.replace(",", "\t"))
    numbered(root / "Board/img", digits=5)
    text(root / "Board/groundtruth_rect.txt", BOXES.replace(",", " "))
    numbered(root / "Football1/img", 73, 4)
    text(root / "Football1/groundtruth_rect.txt", "1,2,3,4\n5,6,7,8\n")
    numbered(root / "Jogging/img")
    for number in (1, 2):
        text(root / f"Jogging/groundtruth_rect.{number}.txt", BOXES)
    numbered(root / "Human4/img")
    text(root / "Human4/groundtruth_rect.1.txt", "")
    text(root / "Human4/groundtruth_rect.2.txt", BOXES)


def lasot(root):
    text(root / "testing_set.txt", "cat-1\n")
    for name in ("cat-1", "cat-2"):
        folder = root / "cat" / name
        numbered(folder / "img", digits=8)
        text(folder / "groundtruth.txt", BOXES)
        text(folder / "full_occlusion.txt", "0,1,0")
        text(folder / "out_of_view.txt", "0,0,0")
        text(folder / "nlp.txt", "a cat")


def got10k(root):
    for split in ("train", "val", "test"):
        name = f"GOT-10k_{split}_000001"
        text(root / split / "list.txt", name + "\n")
        folder = root / split / name
        numbered(folder, digits=8)
        text(folder / "groundtruth.txt", BOXES if split != "test" else "1.5,2,3,4\n")
        text(folder / "meta_info.ini", "[METAINFO]\nresolution: (80, 60)\n")
        if split != "test":
            text(folder / "absence.label", "0\n0\n1\n")
            text(folder / "cover.label", "8\n0\n8\n")
            text(folder / "cut_by_image.label", "0\n0\n0\n")


def trackingnet(root):
    for part in ("TRAIN_0", "TRAIN_11", "TEST"):
        frames(root / part / "frames/abc_0", [f"{i}.png" for i in range(9, 12)])
        text(root / part / "anno/abc_0.txt", BOXES if part != "TEST" else "1,2,3,4\n")


def uav123(root):
    numbered(root / "data_seq/UAV123/bird1", count=5, digits=6)
    numbered(root / "data_seq/UAV123/car1", digits=6)
    text(root / "anno/UAV123/bird1_2.txt", "1,2,3,4\nNaN,NaN,NaN,NaN\n1,2,3,4\n")
    text(root / "anno/UAV123/car1.txt", BOXES)
    part = {"folder_name": "bird1", "start_frame": 3, "end_frame": 5}
    text(root / "uav123.json", json.dumps({"bird1_2": part}))


def nfs(root):
    numbered(root / "airboard/30/airboard", digits=5)
    rows = [f'0 {10 + i} 20 {40 + i} 60 {i} 0 0 0 "ball"' for i in range(3)]
    text(root / "airboard/30/airboard.txt", "\n".join(rows))
    numbered(root / "ball/30/ball", digits=5)
    rows = [f"0 {i} 0 {i + 30} 40 0" for i in range(20)]
    text(root / "ball/30/ball.txt", "\n".join(rows))


def coco(root):
    images = [{"id": 7, "file_name": "a.png"}, {"id": 8, "file_name": "b.png"}]
    notes = [
        {"id": 1, "image_id": 7, "bbox": [1, 2, 30, 40], "iscrowd": 0},
        {"id": 2, "image_id": 8, "bbox": [5, 6, 7, 8], "iscrowd": 0},
        {"id": 3, "image_id": 8, "bbox": [5, 6, 7, 8], "iscrowd": 1},
        {"id": 4, "image_id": 8, "bbox": [5, 6, 7, 0], "iscrowd": 0},
    ]
    for split in ("train", "val"):
        about = json.dumps({"images": images, "annotations": notes})
        text(root / f"annotations/instances_{split}2014.json", about)
        frames(root / f"images/{split}2014", ["a.png", "b.png"])


MINIATURES = {
    f.__name__: f for f in (otb100, lasot, got10k, trackingnet, uav123, nfs, coco)
}  # fmt: skip


def opened(kind, root, split="test", **options):
    return open_sequences(LAYOUTS, kind, root, split, **options)


def test_every_layout_has_a_miniature():
    assert MINIATURES.keys() == LAYOUTS.keys()


@pytest.mark.parametrize(
    ("kind", "split", "names"),
    [
        ("otb100", "test", ["Board", "Car4", "Football1", "Human4-2", "Jogging-1", "Jogging-2"]),
        ("lasot", "test", ["cat-1"]),
        ("lasot", "train", ["cat-2"]),
        ("got10k", "val", ["GOT-10k_val_000001"]),
        ("got10k", "test", ["GOT-10k_test_000001"]),
        ("trackingnet", "train", ["abc_0", "abc_0"]),
        ("trackingnet", "TRAIN_11", ["abc_0"]),
        ("trackingnet", "test", ["abc_0"]),
        ("uav123", "test", ["bird1_2", "car1"]),
        ("nfs", "test", ["airboard", "ball"]),
        ("coco", "train", ["coco-1", "coco-2"]),
    ],
)
def test_what_a_layout_holds(kind, split, names, tmp_path):
    MINIATURES[kind](tmp_path)
    videos = opened(kind, tmp_path, split)
    assert [video.name for video in videos] == names
    for video in videos:
        assert len(video) == len(video.boxes) == len(video.visible)
        assert video.frame(len(video) - 1).shape == (60, 80, 3)
        assert video.visible[0]
        assert video.still == (kind == "coco")


def test_what_the_truth_is(tmp_path):
    for kind, make in MINIATURES.items():
        make(tmp_path / kind)
    board, car, football, *_ = opened("otb100", tmp_path / "otb100")
    assert car.boxes[1].tolist() == board.boxes[1].tolist() == [11, 20, 30, 40]
    assert [int(football.frame(i).max()) for i in range(2)] == [0, 1]  # frames 73 and 74
    (cat,) = opened("lasot", tmp_path / "lasot")
    assert cat.visible.tolist() == [True, False, True]
    (val,) = opened("got10k", tmp_path / "got10k", "val")
    assert val.visible.tolist() == [True, False, False]
    (test,) = opened("got10k", tmp_path / "got10k")
    assert test.boxes[0].tolist() == [1.5, 2, 3, 4]
    assert np.isnan(test.boxes[1:]).all()
    (net,) = opened("trackingnet", tmp_path / "trackingnet", "TRAIN_0")
    assert [int(net.frame(i).max()) for i in range(3)] == [0, 1, 2]  # 9, 10, 11: by number
    bird, _ = opened("uav123", tmp_path / "uav123")
    assert bird.visible.tolist() == [True, False, True]
    assert int(bird.frame(0).max()) == 2  # the third frame of its folder
    airboard, ball = opened("nfs", tmp_path / "nfs")
    assert airboard.boxes[2].tolist() == [12, 20, 30, 40]
    assert ball.boxes[:, 0].tolist() == [0, 8, 16]
    assert opened("coco", tmp_path / "coco", "val")[1:][0].boxes.tolist() == [[5, 6, 7, 8]]


def test_some_can_be_left_out(tmp_path):
    nfs(tmp_path)
    assert [v.name for v in opened("nfs", tmp_path, without=["ball"])] == ["airboard"]


def removed(name):
    return lambda root: (root / name).unlink()


def written(name, content):
    return lambda root: text(root / name, content)


CAR = "Car4/groundtruth_rect.txt"


@pytest.mark.parametrize(
    ("kind", "split", "change", "sentence"),
    [
        ("otb100", "test", removed(CAR), "'.*groundtruth_rect.txt' is missing"),
        ("otb100", "test", written(CAR, BOXES[:24]), "'Car4' has 3 frames, but 2 boxes"),
        ("otb100", "test", removed("Car4/img/0002.png"), "'Car4' has 2 frames, but 3 boxes"),
        ("otb100", "test", written(CAR, BOXES[:24] + "NaN,1,2,3"), r"Box 3 .*'Car4' is \(nan"),
        ("otb100", "test", written(CAR, "NaN,1,2,3\n" + BOXES[:24]), r"first box .*\(nan, 1"),
        ("otb100", "test", written(CAR, "1,2,0,3\n" + BOXES[:24]), "first box .*of some size"),
        ("otb100", "test", written(CAR, BOXES[:24] + "1,2,3"), "Line 3 of .* is '1,2,3'"),
        ("otb100", "test", written(CAR, BOXES[:24] + "a,b,c,d"), "Line 3 of .*, which is no box"),
        ("lasot", "test", removed("testing_set.txt"), "testing_set.txt' is missing"),
        ("lasot", "test", removed("cat/cat-1/out_of_view.txt"), "out_of_view.txt' is missing"),
        ("lasot", "test", written("cat/cat-1/out_of_view.txt", "0,0"), "3 boxes, but 2 notes"),
        ("lasot", "test", written("cat/cat-1/out_of_view.txt", "0,x,0"), "that is no number"),
        ("got10k", "val", removed("val/list.txt"), "list.txt' is missing"),
        ("got10k", "val", removed("val/GOT-10k_val_000001/cover.label"), "cover.label' is missing"),
        ("got10k", "val", written("val/list.txt", "a\n"), "groundtruth.txt' is missing"),
        ("trackingnet", "TRAIN_5", lambda root: None, "TRAIN_5/anno' is missing"),
        ("trackingnet", "test", written("TEST/anno/b.txt", BOXES), "frames/b' is missing"),
        ("uav123", "test", removed("uav123.json"), "'bird1_2' have no folder"),
        ("uav123", "test", written("uav123.json", "{"), "uav123.json' is no JSON"),
        ("uav123", "test", written("uav123.json", "[]"), "uav123.json' does not say for each"),
        ("uav123", "test", written("uav123.json", '{"a": {}}'), "'folder_name'"),
        ("uav123", "test", written("anno/UAV123/car1.txt", "1,2,3,4\n"), "3 frames, but 1 boxes"),
        ("nfs", "test", removed("ball/30/ball.txt"), "ball.txt' is missing"),
        ("coco", "train", removed("annotations/instances_train2014.json"), "is missing"),
        ("coco", "train", written("annotations/instances_train2014.json", "{}"), "not what COCO"),
    ],
)
def test_what_does_not_fit_is_said_in_a_sentence(kind, split, change, sentence, tmp_path):
    MINIATURES[kind](tmp_path)
    change(tmp_path)
    with pytest.raises(DataError, match=sentence) as error:
        opened(kind, tmp_path, split)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", sorted(MINIATURES))
def test_splits_and_folders_that_there_are_not(kind, tmp_path):
    with pytest.raises(DataError, match="is missing"):
        opened(kind, tmp_path / "none")
    MINIATURES[kind](tmp_path)
    with pytest.raises((ConfigError, DataError), match=r"has no split 'dev'|dev/anno' is missing"):
        opened(kind, tmp_path, "dev")


def test_a_layout_that_there_is_not(tmp_path):
    with pytest.raises(ConfigError, match=r"no layout 'otb10': .*'otb100'"):
        opened("otb10", tmp_path)


def test_a_box_of_no_size_shows_nothing(tmp_path):
    lasot(tmp_path)
    text(tmp_path / "cat/cat-1/groundtruth.txt", "1,2,3,4\n1,2,3,4\n1,2,0,4\n")
    (cat,) = opened("lasot", tmp_path)
    assert cat.visible.tolist() == [True, False, False]


def test_an_empty_folder_holds_nothing(tmp_path):
    with pytest.raises(DataError, match="holds no sequence for 'test'"):
        opened("nfs", tmp_path)


def test_a_folder_of_ones_own(tmp_path):
    frames(tmp_path, ["frame_10.png", "frame_9.png", "frame_11.png", ".frame_1.png"])
    text(tmp_path / "notes.txt", "no image")
    video = folder_of_frames(tmp_path, [1, 2, 3, 4])
    assert [int(video.frame(i).max()) for i in range(3)] == [1, 0, 2]
    assert video.visible.tolist() == [True, False, False]
    assert video.size == (60, 80)


@pytest.mark.parametrize("box", [[1, 2, 3], [1, 2, 0, 4], [1, 2, 3, float("nan")]])
def test_first_boxes_that_are_none(box, tmp_path):
    frames(tmp_path, ["1.png", "2.png"])
    with pytest.raises(ConfigError, match=r"first box is '\[1, 2.*; give x, y, width and height"):
        folder_of_frames(tmp_path, box)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["1.png"], "has 1 frames; it takes two or more"),
        ([], "has 0 frames"),
        (["a.png", "b.png"], "has no number of its own"),
        (["1.png", "01.png"], "has no number of its own"),
    ],
)
def test_folders_that_are_no_video(names, sentence, tmp_path):
    frames(tmp_path, names)
    with pytest.raises(DataError, match=sentence):
        folder_of_frames(tmp_path)
