"""References: what restoration without a network gives, for tables and strips to compare with."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from lwdna.data.bicubic import imresize
from lwdna.tasks.kinds import reference_of
from lwdna.tasks.restoration import to_bytes
from lwdna.tasks.sections import TaskSection
from lwdna.tasks.task import task_for


class Bicubic(nn.Module):
    """Enlarge images by MATLAB's bicubic interpolation, in bytes as the benchmarks have it.

    Args:
        scale: the factor.
    """

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, h, w) on the 0-255 scale to (B, C, scale h, scale w); both are rounded."""
        large = np.stack([np.atleast_3d(imresize(to_bytes(i), self.scale)) for i in images.cpu()])
        return torch.from_numpy(large).movedim(-1, 1).to(images)


def reference_network(task: TaskSection) -> nn.Module:
    """The reference of a task as a module without parameters, to be evaluated like a network.

    Args:
        task: the section ``task`` of an experiment of restoration.

    Raises:
        ConfigError: if there is none for this kind of task.
    """
    reference_of(task)
    return task_for(task).reference()
