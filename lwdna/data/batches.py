"""Whole batches: from data sets that make them at once, and from those that make samples."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate, get_worker_info

INLINE_BYTES = 2**14
"""Class labels of at most so many bytes go from a worker through its pipe: the shared memory that
PyTorch has for every tensor takes both processes 0.4 ms to set up."""


class Batched(Dataset[tuple[Any, ...]], ABC):
    """A data set that makes whole batches: ``dataset[key]`` is what a batch of one holds.

    What a key is, the class says. A sample must not depend on the others of its batch. A class
    that is made of one of these, and says anew what a sample is but not what a batch is, is asked
    for samples.
    """

    @abstractmethod
    def batch(self, keys: Sequence[Any]) -> tuple[Tensor, ...]:
        """The samples of B keys, stacked: tensors (B, ...), such as inputs and targets.

        Large ones are best written into :func:`empty`.
        """

    def __getitem__(self, key: Any) -> tuple[Any, ...]:
        """One sample: tensors without the dimension of the batch, and numbers as such."""
        first = (part[0] for part in self.batch([key]))
        return tuple(part if part.ndim else part.item() for part in first)


def empty(*shape: int) -> Tensor:
    """Room for a batch, float32 (B, ...), whose numbers are still to be written.

    In a worker it is memory that is shared with the process that it serves, so that what is
    written there need not be copied to be handed on.
    """
    if get_worker_info() is None or shape[0] == 1:  # a sample; others may be stacked with it
        return torch.empty(shape, dtype=torch.float32, device="cpu")
    # As PyTorch's own collation does. Tensor.share_memory_ would copy what is not there yet.
    share: Callable[[int], torch.UntypedStorage] = torch.UntypedStorage._new_shared
    room = torch.empty(0, dtype=torch.float32, device="cpu")
    return room.set_(share(room.element_size() * math.prod(shape))).view(shape)


def batch_of(data: Dataset[Any], keys: Sequence[Any]) -> Any:
    """The samples of some keys as a batch: every tensor (B, ...).

    Args:
        data: any map-style dataset. One that has ``__getitems__`` is asked for all samples at
            once, as PyTorch does.
        keys: B of them, as the data set takes them.
    """
    if isinstance(data, Batched) and _says_batches(type(data)):
        return data.batch(keys)
    if hasattr(data, "__getitems__"):
        return default_collate(data.__getitems__(keys))
    return default_collate([data[key] for key in keys])


def _says_batches(kind: type) -> bool:
    """Whether the class that has the last word on samples says what a batch is."""
    word = next(base for base in kind.__mro__ if {"batch", "__getitem__"} & vars(base).keys())
    return "batch" in vars(word)


def batch_loader(
    data: Dataset[Any], batches: Iterable[Sequence[Any]], **options: Any
) -> DataLoader[Any]:
    """A DataLoader of the batches of a data set, whatever it makes at once.

    Args:
        data: any map-style dataset.
        batches: the keys of each batch; what changes it before an iteration is heeded.
        options: of :class:`torch.utils.data.DataLoader`, such as ``num_workers``.
    """
    return DataLoader(_Whole(data), sampler=batches, batch_size=None, **options)


class _Whole(Dataset[Any]):
    """A data set whose keys are those of a batch, and whose items are batches."""

    def __init__(self, data: Dataset[Any]) -> None:
        self._data = data

    def __getitem__(self, keys: Sequence[Any]) -> Any:
        batch = batch_of(self._data, keys)
        if get_worker_info() is None or not isinstance(batch, tuple | list):
            return batch
        return [_Inline(part) if _are_labels(part) else part for part in batch]


class _Inline:
    """A tensor that arrives in another process as one, and goes there as an array."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    def __reduce__(self) -> tuple[Any, ...]:
        return torch.from_numpy, (self._tensor.numpy(),)


def _are_labels(part: Any) -> bool:
    return isinstance(part, Tensor) and part.dtype == torch.int64 and part.nbytes <= INLINE_BYTES
