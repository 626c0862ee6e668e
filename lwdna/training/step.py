"""A network that learns: its optimiser, its teacher and its device(s), one step at a time."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from lwdna.errors import ConfigError, first_line
from lwdna.tasks.task import Task
from lwdna.tasks.trees import Tree, batch_length, call, every, mapped
from lwdna.training.checkpoints import OptimizerState
from lwdna.training.devices import GatheredPixels
from lwdna.training.passes import ORDINARY, Pass
from lwdna.training.protocol import Protocol

if TYPE_CHECKING:
    from lightning_fabric import Fabric

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What a step says of some of its images."""

    images: int
    loss: Tensor
    """Mean over these images."""
    metrics: dict[str, Tensor]
    """Sums over these images."""


class Learner:
    """Makes the steps of a training, with memory format, precision and compiler of its protocol.

    Args:
        fabric: launched.
        protocol: of the training.
        task: what is minimised and measured.
        model: the network; it is moved to the device, and laid out in memory as the protocol says.
        teacher: to distil from; likewise, and set to evaluation mode.
    """

    def __init__(
        self,
        fabric: Fabric,
        protocol: Protocol,
        task: Task,
        model: nn.Module,
        teacher: nn.Module | None = None,
    ) -> None:
        self.fabric, self.protocol, self.task, self.model = fabric, protocol, task, model
        self._format = torch.channels_last if protocol.channels_last else torch.contiguous_format
        # The compiler of a CPU lets images lie pixel by pixel, whatever the protocol says.
        by_pixel = fabric.device.type == "cpu" and (protocol.channels_last or protocol.compile)
        self._convolving: AbstractContextManager[Any] = (
            GatheredPixels() if by_pixel else nullcontext()
        )
        self._place(model)
        self.optimizer = protocol.make_optimizer(protocol.parameters_of(model))
        self.network, _ = fabric.setup(self._compiled(model), self.optimizer)
        self.teacher: nn.Module | None = None
        if teacher is not None:
            self._place(teacher.to(fabric.device).eval())
            self.teacher = self._compiled(teacher)
        share = protocol.batch_size // fabric.world_size
        if fabric.is_global_zero and self._parts(share) < protocol.accumulate:
            logger.warning(
                "'accumulate' is %d, but the %d images of a batch for each device are split into "
                "%d: a micro-batch has two images or more.",
                protocol.accumulate,
                share,
                self._parts(share),
            )

    def load(self, model: Mapping[str, Tensor], optimizer: OptimizerState) -> None:
        """Go on from a checkpoint; without a state of the optimiser, that starts afresh.

        Args:
            model: its tensors by name, each of the shape that it has in the network.
            optimizer: by parameter, which its tensors share the shape of.
        """
        self.model.load_state_dict(model)
        if not optimizer:
            return
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": optimizer, "param_groups": groups})
        # In the layout they had: another one adds in another order, and so gives other bits.
        for parameter, quantities in self.optimizer.state.items():
            for name, value in quantities.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    quantities[name] = torch.empty_like(parameter).copy_(value)

    def step(
        self,
        inputs: Tree,
        targets: Tree,
        batch_size: int,
        passes: Sequence[Pass] = ORDINARY,
    ) -> list[Outcome]:
        """One step of the optimiser on this device's share of a batch.

        The share is split into micro-batches, each of every so-manyth image, just as devices share
        a batch; none has less than two images, on which BatchNorm could not normalise a 1 x 1 map.

        Args:
            inputs: (B, C, H, W), on the device, or a tree of such: the arguments of the network.
            targets: (B,) or (B, C, H, W), or a tree of such.
            batch_size: images of the whole batch, over all devices.
            passes: of each micro-batch, in this order; their gradients are added up as they are.

        Returns:
            The outcome of the first pass of each micro-batch.

        Raises:
            ConfigError: if the network cannot be compiled.
        """
        try:
            return self._step(inputs, targets, batch_size, passes)
        except Exception as error:
            # What the compiler raises has no public name, only its package.
            if self.protocol.compile and type(error).__module__.startswith(_COMPILER):
                raise ConfigError(
                    f"The network cannot be compiled here: {first_line(error)}. Install a C++ "
                    "compiler if there is none, or set 'compile' of the protocol to false."
                ) from error
            raise

    def _step(
        self, inputs: Tree, targets: Tree, batch_size: int, passes: Sequence[Pass]
    ) -> list[Outcome]:
        parts = self._parts(batch_length(inputs))
        # A pass of its own goes past the wrapper that adds the gradients of devices.
        by_hand = any(one.run is not None for one in passes)
        outcomes = []
        self.optimizer.zero_grad()
        for part in range(parts):
            x, y = (every(tree, part, parts) for tree in (inputs, targets))
            x, images = mapped(self._laid_out, x), batch_length(x)
            with torch.no_grad(), self.fabric.autocast():
                guide = None if self.teacher is None else _floats(call(self.teacher, x))
            first: Tree = None
            for number, one in enumerate(passes):
                # The gradients of devices need to be added only once a step.
                last = part == parts - 1 and number == len(passes) - 1
                with self.fabric.no_backward_sync(self.network, enabled=by_hand or not last):
                    with self._convolving:
                        output = self._output(one, x)
                    if one.soft:
                        loss = self.task.soft_loss(output, first)
                    else:
                        loss = self.task.loss(output, y, guide)
                    # Micro-batches are added, devices averaged: weigh each by its share of the
                    # images.
                    self.fabric.backward(loss * (images * self.fabric.world_size / batch_size))
                if number == 0:
                    first = mapped(Tensor.detach, output)
                    outcomes.append(Outcome(images, loss, self.task.metrics(first, y)))
        if by_hand:
            self._average_gradients()
        self.optimizer.step()
        return outcomes

    def _output(self, one: Pass, x: Tree) -> Tree:
        """What a pass makes of images, in 32 bits."""
        if one.run is None:
            return call(self.network, x)
        with self.fabric.autocast():
            return _floats(one.run(x))

    def _average_gradients(self) -> None:
        """The mean over the devices, which all have made the same passes."""
        if self.fabric.world_size == 1:
            return
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        flat = cast(Tensor, self.fabric.all_reduce(flat, reduce_op="mean"))
        parts = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def _parts(self, images: int) -> int:
        """The number of micro-batches of a device's share of a batch."""
        return min(self.protocol.accumulate, max(1, images // 2))

    def _laid_out(self, x: Tensor) -> Tensor:
        """Contiguous in memory; only images can lie pixel by pixel."""
        images = x.dim() == 4
        return x.contiguous(memory_format=self._format if images else torch.contiguous_format)

    def _place(self, module: nn.Module) -> None:
        module.to(memory_format=self._format)  # type: ignore[call-overload]

    def _compiled(self, module: nn.Module) -> nn.Module:
        """Compiled anew for each size of a batch, so that a resumed run meets the same kernels."""
        if not self.protocol.compile:
            return module
        compiled: Any = torch.compile(module, dynamic=False)
        return compiled  # type: ignore[no-any-return]


def _floats(tree: Tree) -> Tree:
    """Predictions in 32 bits; whole numbers stay."""
    return mapped(lambda x: x.float() if x.is_floating_point() else x, tree)


_COMPILER = ("torch._dynamo", "torch._inductor")
