"""A second count of convolutions and linear layers, by PyTorch's own counter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

_CONVOLUTION = torch.ops.aten.convolution


def _at_the_output(
    x_shape: Sequence[int],
    w_shape: Sequence[int],
    *_args: Any,
    out_shape: Sequence[int],
    **_kwargs: Any,
) -> int:
    """FLOPs of a convolution at its output size, of a transposed one too: the convention."""
    return conv_flop_count(list(x_shape), list(w_shape), list(out_shape), transposed=False)


class Recount:
    """Counts what runs meanwhile below the functions that ``complexity`` watches: the kernels.

    What computes by matrix products of its own, such as an attention, is no layer by the
    convention: of those the linear layers alone count, which :meth:`linear` runs.
    """

    def __init__(self) -> None:
        self._counter = FlopCounterMode(
            display=False, custom_mapping={_CONVOLUTION: _at_the_output}
        )
        self._linear = 0

    def __enter__(self) -> Recount:
        self._counter.__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        self._counter.__exit__(*error)  # type: ignore[no-untyped-call]

    def linear(self, run: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run a linear layer, and count it."""
        before = self._counter.get_total_flops()
        result = run(*args, **kwargs)
        self._linear += self._counter.get_total_flops() - before
        return result

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the whole batch so far; PyTorch counts each as two FLOPs."""
        counts = self._counter.get_flop_counts().get("Global", {})
        return (counts.get(_CONVOLUTION, 0) + self._linear) // 2
