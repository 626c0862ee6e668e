"""Weights of other programs: each tensor has its place in a network, or it is said which not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher

import torch
from torch import Tensor, nn

from lwdna.errors import CheckpointError

_SHOWN = 8
"""Names that a message shows; a network may have hundreds."""

_COUNTER = "num_batches_tracked"
"""Of batch norms, which do not use it in evaluation, and which older files lack."""


@torch.no_grad()
def fill(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Give a network the values of tensors with the names and shapes of its own.

    Args:
        model: of which every tensor is to be set.
        state: by name tensors of any shape.
        source: what to call the file.

    Raises:
        CheckpointError: if some do not fit; nothing is changed then.
    """
    own = model.state_dict(keep_vars=True)
    fits = {n for n in own if n in state and own[n].shape == state[n].shape}
    lacking = [n for n in own if n not in fits and not n.endswith(_COUNTER)]
    over = [n for n in state if n not in fits and not n.endswith(_COUNTER)]
    if lacking or over:
        raise CheckpointError(
            f"{source} does not fit {type(model).__name__}: {len(lacking)} of the network's "
            f"{len(own)} tensors are not in it, and {len(over)} of its {len(state)} not in the "
            f"network. {_compared(own, state, lacking, over)} Name its tensors as the network's, "
            "or give the network that they were saved from, with its width and options."
        )
    for name in fits:
        kinds = state[name].dtype, own[name].dtype
        if kinds[0].is_complex or kinds[0].is_floating_point != kinds[1].is_floating_point:
            raise CheckpointError(
                f"{source} has numbers of type {kinds[0]} in '{name}', the network of {kinds[1]}; "
                "give weights that are not quantised."
            )
        if not torch.isfinite(state[name].to(kinds[1])).all():
            raise CheckpointError(
                f"{source} has numbers in '{name}' that are not finite; give weights that can be "
                "used."
            )
    for name in fits:
        own[name].copy_(state[name])


def _compared(
    own: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    lacking: Sequence[str],
    over: Sequence[str],
) -> str:
    """What is lacking beside what is nearest to it in the file, the nearest pairs first."""
    pairs = []
    for name in lacking[:50]:
        by_name = {other: _alike(name, other) for other in over}
        # What has the same shape is more likely it than what is called alike.
        best = max(
            over,
            key=lambda n: (state[n].shape == own[name].shape, by_name[n]),
            default=None,
        )
        pairs.append((0.0 if best is None else by_name[best], name, best))
    pairs.sort(key=lambda pair: (-pair[0], lacking.index(pair[1])))
    said = [
        f"'{name}' ({_by(own[name])}), nearest in the file "
        + ("nothing" if best is None else f"'{best}' ({_by(state[best])})")
        for _, name, best in pairs[:_SHOWN]
    ]
    text = f"The network's: {'; '.join(said)}{_more(len(lacking))}." if said else ""
    taken = {best for _, _, best in pairs}
    rest = [f"'{name}' ({_by(state[name])})" for name in over if name not in taken]
    others = f"In the file alone: {'; '.join(rest[:_SHOWN])}{_more(len(rest))}." if rest else ""
    return " ".join(filter(None, [text, others]))


def _alike(one: str, other: str) -> float:
    return SequenceMatcher(None, one, other, autojunk=False).ratio()


def _more(count: int) -> str:
    return f"; and {count - _SHOWN} more" if count > _SHOWN else ""


def _by(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a number"
