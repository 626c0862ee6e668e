"""L1: the channels of a trained network whose weights are smallest go (Li et al., 2017).

Li et al. rank the filters of one layer by the sum of their absolute weights. Here what goes
together is judged together: of a channel the filters that make it and the weights that read it,
in every layer of its set. The sum is divided by the number of these weights, and then by the mean
over the set, since weights are the smaller the more channels a layer reads: without that, one
threshold for the whole network would take the deepest layers first, however they are trained.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from lwdna.graph.channels import ChannelGraph
from lwdna.graph.surgery import tensors_of


def score(
    graph: ChannelGraph, model: nn.Module, _loss_fn: Any, _settings: Any
) -> NDArray[np.float64]:
    """The mean absolute weight of each element, relative to that of its channel set.

    Args:
        graph: the channel graph of ``model``.
        model: the trained network.

    Returns:
        ``(elements,)``: 1 on the average of a set; 0 for an element without weights.
    """
    total, numbers = np.zeros(graph.elements), np.zeros(graph.elements)
    for name, tensor in tensors_of(model).items():
        # Filters alone: what scales and shifts a channel is of one number.
        if name.rpartition(".")[0] not in graph.layers or tensor.ndim < 2:
            continue
        weights = tensor.detach().abs().double().cpu().numpy()
        for axis, elements in enumerate(graph.axes.get(name, ())):
            if elements is not None:
                there = elements >= 0
                sums = weights.sum(tuple(i for i in range(weights.ndim) if i != axis))
                size = np.full(len(sums), weights.size / len(sums))
                for into, values in ((total, sums), (numbers, size)):
                    np.add.at(into, elements[there], values[there])
    means = np.divide(total, numbers, out=np.zeros(graph.elements), where=numbers > 0)
    for channels in graph.sets:
        weighed = channels.elements[numbers[channels.elements] > 0]
        mean = means[weighed].mean() if len(weighed) else 0.0
        if mean > 0:
            means[weighed] /= mean
    return means
