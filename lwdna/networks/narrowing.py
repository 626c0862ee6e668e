"""``lwdna.narrow``: any network with the numbers of channels of a list."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lwdna.graph.channels import ChannelGraph, Mask
from lwdna.graph.complexity import MaskedComplexity
from lwdna.graph.drawing import drawn_anew
from lwdna.graph.inputs import as_inputs, check_data, unwrapped
from lwdna.graph.labels import Groups
from lwdna.graph.layer_rules import is_known
from lwdna.graph.prefixes import mask_of
from lwdna.graph.surgery import cut, verify
from lwdna.networks.provenance import Shrinkage, provenance_of, set_provenance

logger = logging.getLogger(__name__)


def narrow(
    model: nn.Module,
    example_input: Tensor | Sequence[Tensor],
    channels: Mapping[str, int],
    *,
    groups: Groups = "whole",
    batch_norm: bool = True,
) -> nn.Module:
    """Cut a network down to so many channels a layer as a list says, such as a published one.

    Of each layer the first channels stay, with their weights; coupled layers lose the same ones.

    Args:
        model: any convolutional network that torch.fx can trace; it is not changed.
        example_input: ``(B, C, H, W)``, or a tuple of inputs, of a size that it accepts.
        channels: by layer its number of output channels, as :func:`lwdna.channels_of` has them;
            what is not named keeps all of its own.
        groups: what grouped convolutions lose; see :func:`lwdna.shrink`.
        batch_norm: count batch norm in the FLOPs that are noted, as Table 1 does.

    Returns:
        A plain module of the same class, checked by counting it and following its channels again.

    Raises:
        ConfigError: for a layer that does not exist, a number that it cannot have, or numbers of
            coupled layers that contradict each other.
        GraphError: if the channels of the network cannot be followed.
    """
    model = check_data(unwrapped(model))
    return _narrow(model, as_inputs(example_input), channels, groups, batch_norm)


def narrow_new(
    model: nn.Module, shape: Sequence[int], channels: Mapping[str, int], *, batch_norm: bool
) -> nn.Module:
    """As :func:`narrow`, of a network just made, drawn anew at its size from PyTorch's generator.

    Args:
        model: the network.
        shape: of an input ``(1, C, H, W)``.
        channels: by layer.
        batch_norm: count batch norm.
    """
    example = torch.empty(*shape, device="meta")
    with torch.device("cpu"):  # of what follows channels, though the network may be without data
        small = _narrow(model, (example,), channels, "whole", batch_norm)
    if any(parameter.is_meta for parameter in small.parameters()):
        return small
    return drawn_anew(small, None, "leave the channels out")


def _narrow(
    model: nn.Module,
    inputs: tuple[Tensor, ...],
    channels: Mapping[str, int],
    groups: Groups,
    batch_norm: bool,
) -> nn.Module:
    """As :func:`narrow`, of a network that may be without data."""
    graph = ChannelGraph(model, inputs, groups=groups)
    complexity = MaskedComplexity(graph, batch_norm=batch_norm)
    noted = {"method": "channels", "batch_norm": batch_norm}
    mask = mask_of(graph, channels)
    return derived(Derivation(graph, model, mask, inputs, complexity, like=model, settings=noted))


@dataclass(frozen=True)
class Derivation:
    """Where a plain network comes from: a wide one, and what is to be left of it.

    Args:
        graph: the channel graph of ``wide``.
        wide: the network, with ordinary weights; it is not changed.
        mask: ``(elements,)``.
        example_input: ``(B, C, H, W)`` at the size for which FLOPs are meant.
        complexity: of ``graph``.
        like: the network as it was given, whose modules' training modes are kept.
        settings: how the mask came about, for the provenance; ``batch_norm`` must be among them.
    """

    graph: ChannelGraph
    wide: nn.Module
    mask: Mask
    example_input: Tensor | Sequence[Tensor]
    complexity: MaskedComplexity
    _: KW_ONLY
    like: nn.Module
    settings: Mapping[str, Any]

    @property
    def shrinkage(self) -> Shrinkage:
        """What it does to the wide network."""
        full = self.graph.full_mask()
        return Shrinkage(
            channels_before={n: len(layer.outputs) for n, layer in self.graph.layers.items()},
            flops_before=self.complexity.flops(full),
            flops_after=self.complexity.flops(self.mask),
            params_before=self.complexity.params(full),
            params_after=self.complexity.params(self.mask),
            inputs=[list(x.shape) for x in as_inputs(self.example_input)],
            settings=dict(self.settings),
        )

    @property
    def kept(self) -> dict[str, list[int]]:
        """By layer the indices of the output channels that stay."""
        return self.graph.kept(self.mask)


def derived(source: Derivation) -> nn.Module:
    """What a mask leaves of a network, checked against the prediction, with its provenance.

    Raises:
        GraphError: if the network is not what the channel graph predicts.
    """
    graph, wide, mask = source.graph, source.wide, source.mask
    _say_what_was_left(wide)
    small = cut(graph, wide, mask)
    batch_norm = bool(source.settings["batch_norm"])
    verify(graph, small, source.example_input, mask, source.complexity, batch_norm=batch_norm)
    for module, given in zip(small.modules(), source.like.modules(), strict=True):
        module.training = given.training
    origin, numbers = provenance_of(wide), graph.remembered(mask)
    set_provenance(small, origin.shrunk(source.kept, source.shrinkage, numbers))
    return small


def _say_what_was_left(model: nn.Module) -> None:
    """Warn of buffers that something else put into PyTorch's layers, such as a counter of FLOPs.

    They are saved with the network, which can then be loaded only into one that has them too.
    """
    left = [
        f"{name}.{buffer}"
        for name, module in model.named_modules()
        if is_known(module)
        for buffer, _ in module.named_buffers(recurse=False)
        if not buffer.startswith(("weight", "bias", "running", "num_batches"))
    ]
    if left:
        logger.warning(
            "The buffers %s are none of PyTorch's layers; a tool may have left them. Remove them "
            "before, by `del`, or a file of the shrunk network can only be loaded into a network "
            "that has them too.",
            ", ".join(left[:3]) + (", ..." if len(left) > 3 else ""),
        )
