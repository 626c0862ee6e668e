"""MutualNet: one network learns at several widths and sizes of the image (Yang et al., 1909.12978).

Each step trains the full network from the labels, and narrower ones from what it says of the same
images, each at a size of the image of its own. The result is the full network at the full size: it
has the baseline's shape, and nothing is searched for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Integral

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lwdna.errors import ConfigError, first_line, is_number, require_least, require_numbers
from lwdna.graph.channels import ChannelGraph, Mask
from lwdna.graph.meta import Dataless, on_meta
from lwdna.graph.slicing import SlicedNetwork
from lwdna.rivals.widths import Widths
from lwdna.tasks.task import Task
from lwdna.training.passes import Pass, Passes

# Keeps this random stream apart from others that are seeded with the same numbers.
_MUTUAL = 0x6D757475616C


@dataclass(frozen=True)
class Settings:
    """Of a training by MutualNet; the defaults are the authors' for ResNet50.

    Raises:
        ConfigError: if a value is out of range.
    """

    sizes: Sequence[int]
    """Heights of the images that a narrower network is given, the full one among them."""
    least_width: float = 0.9
    """Share of the channels of each set that the narrowest network has."""
    passes: int = 4
    """Networks trained in a step: the full one, the narrowest, the others at random between."""
    divisor: int = 8
    """Numbers of channels are rounded to a multiple of this, where there are as many."""

    def __post_init__(self) -> None:
        require_numbers(self)
        if not 0 < self.least_width <= 1:
            raise ConfigError(
                f"least_width is {self.least_width}; give a share above 0, and at most 1."
            )
        require_least(self, passes=1, divisor=1)
        fits = isinstance(self.sizes, Sequence) and len(self.sizes) > 0
        if not (fits and all(is_number(size, Integral) and size > 0 for size in self.sizes)):
            raise ConfigError(
                f"sizes is {self.sizes!r}; give one whole number or more, each above 0."
            )


class Mutual:
    """The passes of a step, a function of (seed, step); see :func:`passes_of`."""

    def __init__(
        self,
        model: nn.Module,
        example_input: Tensor,
        settings: Settings,
        *,
        task: Task,
        seed: int,
    ) -> None:
        if not task.kind.distils:
            raise ConfigError(
                f"MutualNet cannot be trained for the task '{task.section['kind']}': its narrower "
                "networks learn from the predictions of the full one, and there is no distillation."
            )
        for size in settings.sizes:
            _check_size(model, example_input, size)
        graph = ChannelGraph(model, example_input)
        self.settings, self.seed = settings, seed
        self.sliced, self.widths = SlicedNetwork(graph, model), Widths(graph)

    def drawn(self, step: int) -> list[tuple[float, int]]:
        """Width and size of each of the narrower networks of a step, the widest first."""
        settings = self.settings
        generator = np.random.default_rng([_MUTUAL, self.seed, step])
        between = generator.uniform(settings.least_width, 1, max(0, settings.passes - 2))
        widths = sorted([*between.tolist(), settings.least_width], reverse=True)
        number = settings.passes - 1
        sizes = generator.choice(np.asarray(settings.sizes), number)
        return list(zip(widths[:number], sizes.tolist(), strict=True))

    def __call__(self, step: int) -> Sequence[Pass]:
        """The passes of a step, by its number."""
        return [Pass(), *(self._pass(width, size) for width, size in self.drawn(step))]

    def _pass(self, width: float, size: int) -> Pass:
        mask = self.widths.mask(self.widths.uniform(width, self.settings.divisor))
        return Pass(partial(self._run, mask, size), soft=True)

    def _run(self, mask: Mask, size: int, images: Tensor) -> Tensor:
        output: Tensor = self.sliced(mask, resized(images, size))
        return output


def passes_of(
    model: nn.Module, example_input: Tensor, settings: Settings, *, task: Task, seed: int
) -> Passes:
    """The passes of the steps of a training by MutualNet.

    Args:
        model: the network, which is trained.
        example_input: ``(1, C, H, W)``, a training image.
        settings: of the training.
        task: that the network learns.
        seed: of widths and sizes.

    Raises:
        ConfigError: if there is no distillation for the task, or the network does not take images
            of a size.
        GraphError: if its channels cannot be followed.
    """
    return Mutual(model, example_input, settings, task=task, seed=seed)


def resized(images: Tensor, size: int) -> Tensor:
    """Images ``(B, C, H, W)`` at another height and the width that belongs to it, bilinear.

    As the authors do, the corners stay where they are.
    """
    height, width = images.shape[-2:]
    if size == height:
        return images
    shape = (size, max(1, round(width * size / height)))
    return functional.interpolate(images, shape, mode="bilinear", align_corners=True)


def cost(settings: Settings, size: int) -> float:
    """What a step costs, as a multiple of an ordinary one, for images of a height."""
    width = (1 + settings.least_width) / 2
    random = max(0, settings.passes - 2) * (width**2 + (1 - settings.least_width) ** 2 / 12)
    least = settings.least_width**2 * min(1, settings.passes - 1)
    area = float(np.mean([(other / size) ** 2 for other in settings.sizes]))
    return 1 + area * (least + random)


class MutualNet:
    """The training as steps of a method; see :class:`lwdna.config.methods.Steps`."""

    Settings = Settings
    passes_of = staticmethod(passes_of)
    cost = staticmethod(cost)


def _check_size(model: nn.Module, example_input: Tensor, size: int) -> None:
    """Refuse a network that does not take images of a size, run without data."""
    skeleton = on_meta(model).eval()
    images = resized(torch.empty(example_input.shape, device="meta"), size)
    try:
        with Dataless(), torch.no_grad():
            skeleton(images)
    except Exception as error:
        raise ConfigError(
            f"MutualNet cannot train {type(model).__name__}, which does not take images of "
            f"{images.shape[-2]} x {images.shape[-1]} ({first_line(error)}): its forward fixes the "
            "size of its input. Give it a pooling over all positions before its classifier, or "
            "leave that size out of 'sizes'."
        ) from error
