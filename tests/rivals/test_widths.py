"""Widths: masks of first channels are nested, and count what the cut network counts."""

import numpy as np
import pytest
import torch
import torchvision

import lwdna
from lwdna.graph.channels import ChannelGraph
from lwdna.graph.complexity import MaskedComplexity
from lwdna.graph.prefixes import channels_left, mask_of
from lwdna.graph.surgery import cut
from lwdna.rivals.widths import Grid, Widths

EXAMPLE = torch.empty(1, 3, 32, 32)
NETWORKS = {
    "ResNet14": lambda: lwdna.build("ResNet14"),
    "MobileNetV1": lambda: lwdna.build("MobileNetV1", width=0.5),
    "MobileNetV3-small": lambda: lwdna.build("MobileNetV3-small"),
    "RegNetY-200MF": lambda: lwdna.build("RegNetY-200MF"),
    "DenseNet40": lambda: lwdna.build("DenseNet40", width=0.5),
    "shufflenet_v2_x0_5": lambda: torchvision.models.shufflenet_v2_x0_5(num_classes=10),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_masks_are_nested_in_the_width(name):
    graph = ChannelGraph(NETWORKS[name](), EXAMPLE)
    widths, counted = Widths(graph), MaskedComplexity(graph)
    assert widths.mask(widths.uniform(1.0)).all()
    before, sizes = np.zeros(graph.elements, bool), (0, 0)
    for width in (0.01, 0.1, 0.25, 0.3, 0.5, 0.7, 0.75, 0.9, 0.97, 1.0):
        counts = widths.uniform(width)
        mask = widths.mask(counts)
        assert (mask | ~before).all() and mask[graph.frozen].all()
        now = counted.flops(mask), counted.params(mask)
        assert now >= sizes and now[1] >= sizes[1]
        before, sizes = mask, now
        for channels, count in zip(graph.sets, counts, strict=True):
            kept = mask[channels.elements]
            assert kept.sum() >= count >= max(1, channels.frozen.sum())
            if not channels.frozen.any():
                assert kept[:count].all()
    small = cut(graph, graph.model, widths.mask(widths.uniform(0.3)))
    mask = widths.mask(widths.uniform(0.3))
    assert lwdna.complexity(small, EXAMPLE) == (counted.flops(mask), counted.params(mask))
    assert small.eval()(torch.randn(1, 3, 32, 32)).isfinite().all()


def test_the_widths_of_mutualnet_are_counted_to_the_digit():
    """0.9 of ResNet50: stages of multiples of 8, inner layers a quarter of that. Its log says
    3,338,064,192 of convolutions, the classifier and what is pooled (2048 x 0.9 x 7 x 7)."""
    graph = ChannelGraph(lwdna.build("ResNet50"), torch.empty(1, 3, 224, 224))
    widths = Widths(graph)
    left = {64: 58, 128: 116, 256: 230, 512: 460}
    stages = {256: 232, 512: 464, 1024: 920, 2048: 1840}
    counts = widths.full.copy()
    for number, channels in enumerate(graph.sets):
        if not channels.frozen.all():
            stage = any(name.endswith("conv3") for name in channels.makers)
            counts[number] = (stages if stage else left)[len(channels)]
    mask = widths.mask(counts)
    flops = MaskedComplexity(graph, batch_norm=False).flops(mask)
    activations = sum(
        activity.positions
        * int(np.where(activity.channels < 0, True, mask[activity.channels]).sum())
        for activity in graph.activities
        if isinstance(activity.module, torch.nn.ReLU)
    )
    assert flops - activations + 1840 * 7 * 7 == 3_338_064_192


def test_divisors_round_and_keep_the_ends():
    graph = ChannelGraph(lwdna.build("ResNet14"), EXAMPLE)
    widths = Widths(graph)
    free = [not channels.frozen.any() for channels in graph.sets]
    counts = widths.uniform(0.6, divisor=8)
    assert (counts[free] % 8 == 0).all() and (counts <= widths.full).all()
    assert (widths.uniform(0.001, divisor=8)[free] == 8).all()
    assert (widths.uniform(1.0, divisor=7) == widths.full).all()


def test_a_grid_has_whole_groups_and_the_whole():
    graph = ChannelGraph(lwdna.build("ResNet50"), torch.empty(1, 3, 32, 32))
    widths = Widths(graph)
    grid = Grid.of(widths, groups=12, divisor=8, lowest=2 / 12)
    # Every number of AutoSlim's lists is a multiple of these, or the whole.
    units = {64: 8, 128: 8, 256: 24, 512: 40, 1024: 88, 2048: 168}
    free = [n for n, channels in enumerate(graph.sets) if not channels.frozen.any()]
    assert len(free) == 37
    for number in free:
        whole = int(widths.full[number])
        assert grid.unit[number] == units[whole]
        seen, counts = [], widths.full
        while (counts := grid.lower(counts, number)) is not None:
            seen.append(int(counts[number]))
        assert seen[0] == (whole - 1) // units[whole] * units[whole]
        assert (np.diff(seen) == -units[whole]).all()
        assert seen[-1] == grid.least[number] >= whole / 6 > seen[-1] - units[whole]
    drawn = [grid.draw(np.random.default_rng(seed)) for seed in range(200)]
    for number in free:
        found = {int(counts[number]) for counts in drawn}
        assert {int(widths.full[number]), int(grid.least[number])} <= found
        assert all(n % grid.unit[number] == 0 or n == widths.full[number] for n in found)
    assert all((grid.lower(widths.full, n) is None) == (n not in free) for n in range(len(free)))


def test_channels_that_must_stay_come_first(net):
    """A network that gives some of its channels back as they are."""
    model = net(
        lambda self, x: self.last(torch.relu(self.stem(x))) + torch.cat([x, x], 1),
        stem=torch.nn.Conv2d(3, 8, 1),
        last=torch.nn.Conv2d(8, 6, 1),
    )
    graph = ChannelGraph(model, torch.empty(1, 3, 4, 4))
    widths = Widths(graph)
    mask = widths.mask(widths.uniform(0.01))
    assert mask[graph.frozen].all() and mask.sum() == graph.frozen.sum() + 1


@pytest.mark.parametrize("name", ["ResNet14", "MobileNetV3-small"])
def test_a_list_of_what_a_mask_leaves_means_that_mask(name):
    graph = ChannelGraph(NETWORKS[name](), EXAMPLE)
    widths = Widths(graph)
    for width in (0.3, 0.75):
        mask = widths.mask(widths.uniform(width))
        assert np.array_equal(mask_of(graph, channels_left(graph, mask)), mask)


def test_choices_are_what_is_drawn_and_what_shares_come_to():
    graph = ChannelGraph(lwdna.build("ResNet14"), torch.empty(1, 3, 32, 32))
    grid = Grid.of(Widths(graph), groups=5, lowest=0.25)
    generator = np.random.default_rng(2)
    drawn = np.array([grid.draw(generator) for _ in range(200)])
    for number, counts in enumerate(drawn.T):
        assert set(counts.tolist()) == set(grid.choices(number).tolist())
    for counts in drawn[:20]:
        assert (grid.nearest(counts / grid.widths.full) == counts).all()
    before = grid.nearest(np.zeros(len(graph.sets)))
    assert (before == grid.least).all()
    for share in np.linspace(0, 1, 30):
        counts = grid.nearest(np.full(len(graph.sets), share))
        assert (counts >= before).all()
        before = counts
    assert (before == grid.widths.full).all()
