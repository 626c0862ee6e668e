"""Restored in tiles, an image is what it is as a whole, up to rounding."""

import pytest
import torch
from torch import nn

from lwdna.errors import ConfigError
from lwdna.networks.build import build
from lwdna.tasks.restoration import input_multiple, restore
from lwdna.tasks.tiles import reach, restore_in_tiles, smallest_tile

NETWORKS = {
    # By hand: the radii of the convolutions of stride 1, one after the other.
    "DnCNN": ({"blocks": 5, "channels": 4}, 1, 7),
    "EDSR": ({"blocks": 2, "channels": 4}, 3, 8),
    "U-Net": ({"depth": 3, "channels": 4}, 1, None),
    "SRResNet": ({"blocks": 1, "width": 0.25}, 3, None),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [(101, 150), (64, 200)])
@torch.no_grad()
def test_tiles_are_the_whole_image(name, size, scramble, measured):
    options, channels, _ = NETWORKS[name]
    model = scramble(build(name, **options)).eval()
    multiple = input_multiple(model)
    seen = reach(model, channels, multiple)
    image = torch.rand(1, channels, *size) * 255
    whole = restore(model, image, multiple=multiple)
    tiles = []
    made = restore_in_tiles(
        model,
        image,
        tile=smallest_tile(seen, multiple) + 16,
        overlap=seen,
        multiple=multiple,
        after_tile=lambda *place: tiles.append(place),
    )
    assert made.shape == whole.shape and len(tiles) > 4 and tiles[-1][0] == tiles[-1][1]
    difference = float((made - whole).abs().max() / whole.abs().max())
    measured(f"sees {seen}, {len(tiles)} tiles, differs by {difference:.1e} of the largest value")
    assert difference < 1e-5


@pytest.mark.parametrize("name", NETWORKS)
def test_a_pixel_depends_on_as_many_as_is_said(name):
    """Of a pixel at the border of what is seen there is a trace, and of none beyond it."""
    options, channels, known = NETWORKS[name]
    model = build(name, **options).eval()
    multiple = input_multiple(model)
    seen = reach(model, channels, multiple)
    assert known in {None, seen}
    side = 4 * smallest_tile(seen, multiple)
    image = torch.rand(1, channels, side, side, requires_grad=True)
    output = model(image)
    middle = output.shape[-1] // 2
    # The sum over the pixels of a step, which may differ in what they see.
    scale = output.shape[-1] // side
    step = max(16, multiple) * scale
    output[..., middle : middle + step, middle : middle + step].sum().backward()
    touched = image.grad[0].abs().sum(0).sum(0).nonzero()[:, 0]
    start = middle // scale
    assert int(touched.min()) >= start - seen
    assert int(touched.max()) <= start + step // scale - 1 + seen


class Whole(nn.Module):
    def forward(self, x):
        return x - x.mean((2, 3), keepdim=True)


def test_a_network_that_sees_all_has_no_reach():
    assert reach(Whole(), 1) is None


def test_dead_weights_do_not_hide_what_is_seen():
    model = nn.Conv2d(1, 1, 9, padding=4)
    nn.init.zeros_(model.weight)
    assert reach(model, 1) == 4


def test_tiles_of_nothing_but_overlap_are_refused():
    with pytest.raises(ConfigError, match=r"Tiles of 40 pixels are too small .* at least 48"):
        restore_in_tiles(nn.Identity(), torch.zeros(1, 1, 99, 99), tile=40, overlap=7)
