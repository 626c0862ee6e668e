"""A user's frames: folders, videos, and what can be neither."""

import numpy as np
import pytest

from lwdna.data import videos
from lwdna.data.images import write_image
from lwdna.data.videos import read_frames
from lwdna.errors import ConfigError, DataError


def test_a_folder_is_read_in_order(tmp_path):
    for number in (10, 9, 11):
        write_image(tmp_path / f"f{number}.png", np.full((4, 5, 3), number, np.uint8))
    assert [int(frame[0, 0, 0]) for frame in read_frames(tmp_path)] == [9, 10, 11]


def test_what_is_not_there(tmp_path):
    with pytest.raises(DataError, match="no video or folder of frames"):
        read_frames(tmp_path / "none.mp4")


def test_a_folder_without_frames(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(DataError, match="holds no image"):
        read_frames(tmp_path)


def test_without_the_extra(tmp_path, monkeypatch):
    (tmp_path / "film.mp4").write_bytes(b"?")
    monkeypatch.setattr(videos, "find_spec", lambda name: None if name == "av" else 1)
    with pytest.raises(ConfigError, match=r"pip install 'lwdna\[video\]'"):
        read_frames(tmp_path / "film.mp4")


def film(path, count=6):
    iio = pytest.importorskip("imageio.v3")
    pytest.importorskip("av")
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    images = [
        np.broadcast_to(np.roll(ramp, 4 * i)[None, :, None], (48, 64, 3)) for i in range(count)
    ]
    iio.imwrite(path, np.stack(images), plugin="pyav", codec="libx264", fps=10)
    return images


def test_a_video_is_decoded(tmp_path):
    images = film(tmp_path / "film.mp4")
    frames = list(read_frames(tmp_path / "film.mp4"))
    assert len(frames) == len(images)
    assert all(f.dtype == np.uint8 and f.shape == (48, 64, 3) for f in frames)
    error = [np.abs(f.astype(int) - i).mean() for f, i in zip(frames, images, strict=True)]
    assert max(error) < 20


@pytest.mark.parametrize("keep", [0, 40, 0.5])
def test_a_damaged_video_is_said(keep, tmp_path):
    film(tmp_path / "film.mp4")
    whole = (tmp_path / "film.mp4").read_bytes()
    (tmp_path / "film.mp4").write_bytes(whole[: int(keep * len(whole)) if keep < 1 else keep])
    with pytest.raises(DataError, match="cannot be decoded after 0 frames"):
        list(read_frames(tmp_path / "film.mp4"))


@pytest.mark.parametrize("error", [None, AttributeError("'NoneType' has no 'thread_count'")])
def test_a_video_of_which_nothing_comes(error, tmp_path, monkeypatch):
    film(tmp_path / "film.mp4")

    def nothing(*_args, **_options):
        if error is not None:
            raise error
        return iter(())

    monkeypatch.setattr("imageio.v3.imiter", nothing)
    with pytest.raises(DataError, match=r"film.mp4' (holds no frame|cannot be decoded after 0)"):
        list(read_frames(tmp_path / "film.mp4"))
