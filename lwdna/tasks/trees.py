"""Trees of tensors: a tensor, or a mapping, tuple or list of trees, as networks take and give."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from torch import Tensor, nn

from lwdna.errors import DataError

Tree: TypeAlias = Any
"""A tensor, or a mapping, tuple or list of trees; anything else is left alone."""


def mapped(function: Callable[[Tensor], Any], tree: Tree) -> Tree:
    """The same tree, with ``function`` of each of its tensors, of any shape."""
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, Mapping):
        return {name: mapped(function, branch) for name, branch in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(mapped(function, branch) for branch in tree))
    if isinstance(tree, tuple | list):
        return type(tree)(mapped(function, branch) for branch in tree)
    return tree


def leaves(tree: Tree) -> Iterator[Tensor]:
    """The tensors of a tree, of any shape, in order."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, Mapping | tuple | list):
        for branch in tree.values() if isinstance(tree, Mapping) else tree:
            yield from leaves(branch)


def batch_length(tree: Tree) -> int:
    """The number of images in a batch: the first dimension of every tensor, (B, ...).

    Raises:
        DataError: if there is no tensor, or they disagree.
    """
    lengths = {len(tensor) for tensor in leaves(tree)}
    if len(lengths) != 1:
        raise DataError(
            f"The tensors of a batch have the lengths {sorted(lengths)}, where all must have one "
            "and the same; let the data set give a tensor of each image for every one of them."
        )
    return lengths.pop()


def every(tree: Tree, first: int, step: int) -> Tree:
    """Every so-manyth image of a batch, (B, ...) to (about B / step, ...), from ``first`` on."""
    return mapped(lambda tensor: tensor[first::step], tree)


def call(model: nn.Module, inputs: Tree) -> Tree:
    """What a network makes of a batch: a tuple or list holds its arguments, a mapping its keywords.

    Args:
        model: the network.
        inputs: (B, ...), or several of these.
    """
    if isinstance(inputs, Mapping):
        return model(**inputs)
    if isinstance(inputs, tuple | list):
        return model(*inputs)
    return model(inputs)
