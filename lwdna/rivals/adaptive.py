"""One trained network at several widths and sizes of its images, each with its own batch norm.

So are networks used that learned at many widths, such as MutualNet's, and so is seen what a search
with shared weights has to choose from. Batch norm of a narrower network, or of smaller images, has
other statistics than those that the network keeps: what it measures with these is noted as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

from torch import Tensor, nn
from torch.utils.data import Dataset

from lwdna.errors import ConfigError
from lwdna.graph.channels import ChannelGraph
from lwdna.graph.complexity import complexity
from lwdna.graph.surgery import cut
from lwdna.rivals.mutualnet import resized
from lwdna.rivals.widths import Widths
from lwdna.tasks.kinds import BEFORE, measures
from lwdna.tasks.task import Task
from lwdna.training.evaluation import evaluate
from lwdna.training.recalibration import recalibrate
from lwdna.training.sampler import batches_of

_BATCH = 128
"""Images in a batch, of the calibration too."""


def measured_at(
    model: nn.Module,
    example_input: Tensor,
    *,
    task: Task,
    train_data: Dataset[Any],
    test_data: Dataset[Any],
    widths: Sequence[float],
    sizes: Sequence[int] = (),
    divisor: int = 1,
    calibration: int = 9,
    seed: int = 0,
    batch_norm: bool = True,
    **how: Any,
) -> list[dict[str, float | int | None]]:
    """Measure a trained network at some widths and sizes, before and after recalibration.

    Args:
        model: the network, which is not changed.
        example_input: ``(1, C, H, W)``, at the size for which FLOPs are meant.
        task: that it learned.
        train_data: indexed by (epoch, index), whose images batch norm is recalibrated by.
        test_data: as of :func:`lwdna.training.evaluation.evaluate`.
        widths: shares of each channel set, of which the first channels stay.
        sizes: heights to which images are resized; without any they stay as they are.
        divisor: numbers of channels are rounded to a multiple of this.
        calibration: batches of 128 training images; the same for each width and size.
        seed: of their order.
        batch_norm: whether FLOPs count it.
        how: of ``evaluate``: ``convention`` and ``multiple``.

    Returns:
        A row for each width and size: ``width``, ``size`` (None as it is), ``flops``, ``params``,
        ``images``, and the main measure of the task, by its name in tables of metrics, after and
        before recalibration (:data:`lwdna.tasks.kinds.BEFORE`).

    Raises:
        ConfigError: if a width is not in (0, 1], or the network does not take images of a size.
        GraphError: if its channels cannot be followed.
    """
    for width in widths:
        if not 0 < width <= 1:
            raise ConfigError(f"A width is {width:g}; give shares above 0, and at most 1.")
    graph = ChannelGraph(model, example_input)
    counts, device = Widths(graph), next(model.parameters()).device
    column = measures()[task.metric_names[0]]
    found: list[dict[str, float | int | None]] = []
    for width in widths:
        mask = counts.mask(counts.uniform(width, divisor))
        for size in sizes or (None,):
            small = _AtSize(cut(graph, model, mask), size).to(device)
            flops, params = complexity(
                small.network, small.resized(example_input), batch_norm=batch_norm
            )
            before = evaluate(small, test_data, task=task, **how)
            inputs = (inputs for inputs, _ in batches_of(train_data, _BATCH, seed))
            recalibrate(small, islice(inputs, calibration))
            after = evaluate(small, test_data, task=task, **how)
            about = {"width": width, "size": size, "flops": flops, "params": params}
            name = task.metric_names[0]
            measured = {column: after[name], column + BEFORE: before[name]}
            found.append({**about, "images": int(after["n"]), **measured})
    return found


class _AtSize(nn.Module):
    """A network that is given its images at another size."""

    def __init__(self, network: nn.Module, size: int | None) -> None:
        super().__init__()
        self.network, self.size = network, size

    def resized(self, images: Tensor) -> Tensor:
        return images if self.size is None else resized(images, self.size)

    def forward(self, images: Tensor) -> Tensor:
        output: Tensor = self.network(self.resized(images))
        return output
