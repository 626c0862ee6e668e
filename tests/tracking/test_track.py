"""``lwdna track``: what it writes of folders and videos, and what it refuses."""

import re
from importlib.util import find_spec

import numpy as np
import pytest
from running import ROOT, lwdna

import lwdna as package
from lwdna.data import videos
from lwdna.data.images import read_image, write_image
from lwdna.errors import ConfigError
from lwdna.networks.own import build as build_own
from lwdna.networks.weights import save as save_network
from lwdna.steps import track as step
from lwdna.tracking.box_files import boxes_of
from lwdna.tracking.dimp import save
from lwdna.tracking.drawing import GREEN, with_box

needs_video = pytest.mark.skipif(find_spec("av") is None, reason="takes the extra 'video'")
BOX = "60,50,24,18"
OUTPUTS = ["drawn", pytest.param("out.mp4", marks=needs_video)]


def image(number, size=(160, 201)):
    """A striped thing on a plain ground, that moves by two pixels a frame."""
    made = np.full((*size, 3), 90, np.uint8)
    thing = np.random.default_rng(0).integers(0, 256, (18, 24, 3)).astype(np.uint8)
    made[50:68, 60 + 2 * number : 84 + 2 * number] = thing
    return made


@pytest.fixture
def frames(tmp_path):
    for number in range(4):
        write_image(tmp_path / f"clip/{number:04d}.png", image(number))
    return tmp_path / "clip"


@pytest.fixture
def model(tmp_path, small_tracker):
    save(small_tracker(), tmp_path / "tracker.safetensors")
    return tmp_path / "tracker.safetensors"


def track(source, model, *options, box=BOX):
    return lwdna("track", source, f"--init-box={box}", "--model", model, *options)


def test_a_folder_to_boxes_and_frames(frames, model, tmp_path):
    options = ("--boxes", tmp_path / "a.csv", "--output", tmp_path / "drawn", "--seed", 3)
    status, text = track(frames, model, *options)
    assert status == 0, text
    assert "4 frames" in text and "frames per second" in text
    boxes = boxes_of(tmp_path / "a.csv", 4)
    tracker = package.tracking.load(model, seed=3, device="cpu")
    tracker.init(image(0), (60, 50, 24, 18), "clip")
    expected = [tracker.update(image(number)) for number in (1, 2, 3)]
    np.testing.assert_allclose(boxes, [[60, 50, 24, 18], *expected], atol=1e-4)
    drawn = sorted((tmp_path / "drawn").iterdir())
    assert [path.name for path in drawn] == [f"{n:08d}.png" for n in (1, 2, 3, 4)]
    for number, (path, box) in enumerate(zip(drawn, boxes, strict=True)):
        assert np.array_equal(read_image(path), with_box(image(number), box))


def test_the_boxes_are_those_of_the_seed(frames, model, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert track(frames, model, "--boxes", tmp_path / f"{name}.csv", "--seed", seed)[0] == 0
    first, again, other = ((tmp_path / f"{name}.csv").read_text() for name in "abc")
    assert first == again != other


def test_a_video_to_a_video(model, tmp_path):
    iio = pytest.importorskip("imageio.v3")
    pytest.importorskip("av")
    source, output = tmp_path / "in.mkv", tmp_path / "out.mp4"
    # Sides are even, as H.264 has them.
    stack = np.stack([image(number, (160, 200)) for number in range(4)])
    iio.imwrite(source, stack, plugin="pyav", codec="libx264", fps=12)
    status, text = track(source, model, "--output", output, "--boxes", tmp_path / "a.csv")
    assert status == 0, text
    assert iio.immeta(output, plugin="pyav")["fps"] == 12
    shown = iio.imread(output, plugin="pyav")
    assert shown.shape == (4, 160, 200, 3)
    for seen, plain, box in zip(shown, stack, boxes_of(tmp_path / "a.csv", 4), strict=True):
        drawn = with_box(plain, box)
        edge = (drawn != plain).any(-1)
        error = [np.abs(seen[edge].astype(int) - other[edge]).mean() for other in (drawn, plain)]
        assert error[0] < error[1]


def test_odd_frames_become_a_video(frames, model, tmp_path):
    iio = pytest.importorskip("imageio.v3")
    pytest.importorskip("av")
    status, text = track(frames, model, "--output", tmp_path / "out.mp4")
    assert status == 0, text
    assert iio.imread(tmp_path / "out.mp4", plugin="pyav").shape == (4, 160, 202, 3)


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ("201,50,24,18", "outside of the image of 201 x 160 pixels"),
        ("60,50,0,18", "of no size"),
        ("nan,50,24,18", "give four numbers"),
    ],
)
@pytest.mark.parametrize("output", OUTPUTS)
def test_boxes_that_show_nothing(*, box, said, output, frames, model, tmp_path):
    before = sorted(tmp_path.iterdir())
    options = ("--boxes", tmp_path / "a.csv", "--output", tmp_path / output)
    status, text = track(frames, model, *options, box=box)
    assert status == 1 and said in text and "Traceback" not in text
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("box", ["30,20,16", "a,b,c,d", "30 20 16 12"])
def test_what_is_no_box(box, frames, model, tmp_path):
    status, text = track(frames, model, "--boxes", tmp_path / "a.csv", box=box)
    assert status == 2 and "is not a box; give four numbers" in text


def test_one_frame_is_too_few(frames, model, tmp_path):
    for path in sorted(frames.iterdir())[1:]:
        path.unlink()
    options = ("--boxes", tmp_path / "a.csv", "--output", tmp_path / "drawn")
    status, text = track(frames, model, *options)
    assert status == 1 and "'clip' has 1 frames" in text
    assert not (tmp_path / "a.csv").exists() and not (tmp_path / "drawn").exists()


@pytest.mark.parametrize("output", OUTPUTS)
def test_frames_that_change_size(output, frames, model, tmp_path):
    write_image(frames / "0002.png", image(2, (160, 170)))
    before = sorted(tmp_path.iterdir())
    options = ("--boxes", tmp_path / "a.csv", "--output", tmp_path / output)
    status, text = track(frames, model, *options)
    assert status == 1 and "Frame 3 of 'clip' has 170 x 160 pixels" in text
    assert sorted(tmp_path.iterdir()) == before


def test_outputs_that_cannot_be(frames, model, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/kept.txt").write_text("kept")
    for options, said in (
        ((), "give --boxes, --output, or both"),
        (("--boxes", tmp_path / "a.mp4"), "does not end in .csv"),
        (("--output", tmp_path / "a.gif"), "let its name end in one of .mp4, .mkv, .mov"),
        (("--output", tmp_path / "full"), "is there already"),
        (("--output", frames), "is what the frames are read from"),
    ):
        status, text = track(frames, model, *options)
        assert status == 1 and said in text, text
    assert (tmp_path / "full/kept.txt").read_text() == "kept"


@pytest.mark.parametrize("option", ["--boxes", "--output"])
def test_places_that_cannot_be_written(option, frames, model, tmp_path, monkeypatch):
    """That is said before anything is followed."""
    monkeypatch.setattr(step, "load", lambda *_, **__: pytest.fail("the tracker was loaded"))
    (tmp_path / "file").write_text("kept")
    name = "file/a.csv" if option == "--boxes" else "file/drawn"
    status, text = track(frames, model, option, tmp_path / name)
    assert status == 1 and f"Cannot write '{tmp_path / 'file'}'" in text, text
    assert {path.name for path in tmp_path.iterdir()} == {"clip", "file", model.name}
    assert (tmp_path / "file").read_text() == "kept"


def test_a_video_without_the_extra(frames, model, tmp_path, monkeypatch):
    (tmp_path / "in.mp4").write_bytes(b"?")
    monkeypatch.setattr(videos, "find_spec", lambda _name: None)
    status, text = track(frames, model, "--output", tmp_path / "out.mp4")
    assert status == 1 and "To write the video" in text and "'lwdna[video]'" in text
    status, text = track(tmp_path / "in.mp4", model, "--boxes", tmp_path / "a.csv")
    assert status == 1 and "To read the video" in text and "'lwdna[video]'" in text


def test_a_video_that_is_none(model, tmp_path):
    pytest.importorskip("av")
    (tmp_path / "in.mp4").write_bytes(b"no video")
    for options in (("--boxes", tmp_path / "a.csv"), ("--output", tmp_path / "out.mp4")):
        status, text = track(tmp_path / "in.mp4", model, *options)
        assert status == 1 and "cannot be decoded after 0 frames" in text, text
        assert "Traceback" not in text


def test_files_that_are_no_tracker(frames, tmp_path):
    save_network(package.build("ResNet14", width=0.5), tmp_path / "network.safetensors")
    for name in ("network.safetensors", "none.safetensors"):
        status, text = track(frames, tmp_path / name, "--boxes", tmp_path / "a.csv")
        assert status == 1 and name in text and "Traceback" not in text, text


OWN = """
from torch import nn

def make(channels=4):
    layers = nn.Conv2d(3, channels, 3, 2, 1), nn.Conv2d(channels, 8, 3, 2, 1)
    return nn.Sequential(*layers)
"""


def test_a_backbone_of_ones_own(frames, tmp_path):
    """With the arguments that it was made with."""
    (tmp_path / "net.py").write_text(OWN)
    own = f"{tmp_path}/net.py:make"
    backbone = build_own(own, channels=6)
    settings = {"size": 72, "channels": 8, "iou_width": 8}
    save(package.tracking.build(backbone, ("0", "1"), **settings), tmp_path / "own.safetensors")
    status, text = track(frames, tmp_path / "own.safetensors", "--boxes", tmp_path / "a.csv")
    assert status == 1 and "--network FILE:FUNCTION" in text, text
    options = ("--boxes", tmp_path / "a.csv", "--network", own)
    status, text = track(frames, tmp_path / "own.safetensors", *options)
    assert status == 0, text
    assert len(boxes_of(tmp_path / "a.csv", 4)) == 4
    (tmp_path / "other.py").write_text(OWN.replace("2, 1)\n", "2, 1), nn.ReLU()\n"))
    other = (*options[:-1], f"{tmp_path}/other.py:make")
    status, text = track(frames, tmp_path / "own.safetensors", *other)
    assert status == 1 and "the modules are not those that were saved" in text, text


def test_devices_that_are_not_there(frames, model, tmp_path):
    for device in ("cuda:77", "abacus"):
        status, text = track(frames, model, "--boxes", tmp_path / "a.csv", "--device", device)
        assert status == 1 and f"The device '{device}' cannot be used" in text, text


def test_build_makes_a_tracker_of_any_backbone(tmp_path):
    backbone = package.build("ResNet14", width=0.5)
    settings = {"size": 72, "channels": 16, "iou_width": 8}
    made = package.tracking.build(backbone, ("stages.1", "stages.2"), **settings)
    package.tracking.save(made, tmp_path / "made.safetensors")
    loaded = package.tracking.load(tmp_path / "made.safetensors", device="cpu")
    assert loaded.model.settings == made.settings
    with pytest.raises(ConfigError, match="no setting 'chanels'"):
        package.tracking.build(backbone, ("stages.1", "stages.2"), chanels=16)


def test_the_page_holds(frames, model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs/tracking.md").read_text()
    (shell,) = re.findall(r"```sh\nlwdna (.*?)\n```", page)
    status, text = lwdna(*shell.split())
    assert status == 0, text
    assert len(boxes_of("boxes.csv", 4)) == len([*(tmp_path / "drawn").iterdir()]) == 4
    exec("\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL)), {})
    assert capsys.readouterr().out.count("Flag.") == 3
    made = package.tracking.load("untrained.safetensors", device="cpu")
    assert made.model.settings.channels == 64


def test_a_box_is_drawn_inside_its_edges():
    drawn = with_box(np.zeros((20, 30), np.uint8), (4.2, 5, 8, 6))
    green = (drawn == GREEN).all(-1)
    assert green.sum() == 2 * (2 * 8 + 2 * 2)
    assert green[[5, 6, 9, 10], 4:12].all()
    assert green[5:11, [4, 5, 10, 11]].all()


def test_a_box_thinner_than_its_frame():
    drawn = with_box(np.zeros((900, 900), np.uint8), (4, 5, 2, 1))
    assert (drawn == GREEN).all(-1).sum() == 2
    assert (drawn[5, 4:6] == GREEN).all()


@pytest.mark.parametrize("box", [(-5, -5, 10, 10), (25, 15, 30, 30), (-9, -9, 3, 3), (50, 2, 4, 4)])
def test_a_box_over_the_border_is_drawn_in_part(box):
    drawn = with_box(np.zeros((20, 30, 3), np.uint8), box)
    x, y, w, h = box
    inside = np.zeros((20, 30), bool)
    inside[max(0, y) : max(0, y + h), max(0, x) : max(0, x + w)] = True
    assert not drawn[~inside].any()
