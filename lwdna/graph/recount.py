"""A second count of convolutions and linear layers: of the kernels, by PyTorch's formulas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from lwdna.graph.kernels import WatchingKernels

_CONVOLUTION = torch.ops.aten.convolution


class Recount(WatchingKernels):
    """Counts what runs meanwhile below the functions that ``complexity`` watches: the kernels.

    What computes by matrix products of its own, such as an attention, is no layer by the
    convention: of those the linear layers alone count, which :meth:`linear` runs.
    """

    def __init__(self) -> None:
        super().__init__()
        from torch.utils import flop_counter  # noqa: PLC0415 - loads Triton, only to shrink

        self._formulas = flop_counter
        self._convolutions = 0
        self._products = 0
        self._linear = 0

    def called(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a kernel, and count it by PyTorch's formula."""
        result = func(*args, **kwargs)
        kernel = getattr(func, "overloadpacket", func)
        if kernel is _CONVOLUTION:
            # At the output size, of a transposed one too: the convention.
            x, weight, made = (list(tensor.shape) for tensor in (*args[:2], result))
            self._convolutions += self._formulas.conv_flop_count(x, weight, made, transposed=False)
        elif formula := self._formulas.flop_registry.get(kernel):
            self._products += formula(*args, **kwargs, out_val=result)
        return result

    def linear(self, run: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run a linear layer, and count it."""
        before = self._products
        result = run(*args, **kwargs)
        self._linear += self._products - before
        return result

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the whole batch so far; PyTorch counts each as two FLOPs."""
        return (self._convolutions + self._linear) // 2
