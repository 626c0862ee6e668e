"""Small trackers that tests share."""

import pytest

import lwdna
from lwdna.tracking.dimp import Dimp, Settings


def small_settings(**changed):
    """Those of a tracker on a ResNet for small images: the paper's geometry at a smaller stride."""
    small = {"taps": ("stages.1", "stages.2"), "size": 72, "channels": 16, "iou_width": 8}
    return Settings(**(small | changed))


@pytest.fixture
def small_tracker():
    """Make a tracker whose search region has 72 pixels, on ResNet14 of half the width."""

    def make(backbone=None, **changed):
        if backbone is None:
            backbone = lwdna.build("ResNet14", width=0.5)
        return Dimp(backbone, small_settings(**changed))

    return make
