"""Example inputs: what a network is followed and counted with."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def as_inputs(example_input: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The inputs of a network: one tensor ``(B, C, H, W)``, or several in a tuple or list."""
    return (example_input,) if isinstance(example_input, Tensor) else tuple(example_input)


def batch_of(inputs: Sequence[Tensor]) -> int:
    """How many images an example holds: the length B of axis 0, ``(B, ...)``.

    An input of length 1 there serves all images. Inputs that disagree, such as the support and the
    query images of an episode, count as one.
    """
    sizes = {x.shape[0] for x in inputs if x.ndim > 1} - {1}
    return max(1, sizes.pop()) if len(sizes) == 1 else 1


def for_one(total: int, batch: int) -> int:
    """What a batch of ``batch`` images costs for one of them, rounded up."""
    return -(-total // batch)
