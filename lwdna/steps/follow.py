"""Follow the objects of a test set."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click

from lwdna.data.listings import fingerprint
from lwdna.data.sequence_sets import open_sets
from lwdna.io.atomic import require_writable
from lwdna.io.logs import progress
from lwdna.io.tensors import digest
from lwdna.networks.own import maker
from lwdna.steps._device import device_of
from lwdna.steps._options import FILE, FOLDER, accelerator, bundle, own_network, seed, task, threads
from lwdna.tracking.box_files import write_archive, write_times
from lwdna.tracking.dimp import load, read_backbone
from lwdna.tracking.following import follow_all, read_online, videos_of
from lwdna.tracking.online import Tracker
from lwdna.training.checkpoints import name_of

logger = logging.getLogger(__name__)

_tracker = bundle("tracker", click.argument("weights", type=FILE), own_network, task, accelerator)
_files = bundle(
    "files",
    click.option("--test", type=FILE, required=True, help="Listing of the test set."),
    click.option(
        "--checkpoints", type=FOLDER, required=True, help="Where an interrupted run goes on."
    ),
    click.option("--boxes", type=FILE, required=True, help="Zip to write: boxes of each video."),
    click.option("--times", type=FILE, required=True, help="Zip to write: seconds of each frame."),
)


@click.command()
@_tracker
@_files
@click.option("--description", default="follow", help="Name on the progress bar.")
@seed
@threads
def main(*, tracker: dict[str, Any], files: dict[str, Path], description: str, seed: int) -> None:
    """Follow the objects of a test set by the tracker in WEIGHTS; the same again resumes it."""
    for place in (files["boxes"], files["times"]):
        require_writable(place.parent)
    weights = tracker["weights"]
    used = tracker["task"].get("online", {})
    model = load(weights, maker(weights, tracker["network"], read_backbone(weights)))
    key = {
        "tracker": digest(model.state_dict()),
        "test": fingerprint(files["test"]),
        "online": used,
        "seed": seed,
    }
    following = Tracker(model.to(device_of(tracker["accelerator"])), read_online(used), seed)
    videos = videos_of(open_sets(files["test"]))
    frames = sum(map(len, videos))
    with progress(total=frames, description=description, unit="frame") as bar:
        boxes, seconds = follow_all(
            following, videos, files["checkpoints"] / name_of(key), bar.update
        )
    write_archive(files["boxes"], boxes)
    write_times(files["times"], seconds)
    spent = sum(float(took.sum()) for took in seconds.values())
    logger.info("%d frames of %d videos, %.1f a second.", frames, len(videos), frames / spent)
