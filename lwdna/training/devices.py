"""One or several devices: Fabric, agreement of its processes, random streams, memory formats."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor

from lwdna.errors import ConfigError, require_known
from lwdna.graph.watching import Watching
from lwdna.training.uncompiled import load_fabric_uncompiled

if TYPE_CHECKING:
    from lightning_fabric import Fabric

logger = logging.getLogger(__name__)

ACCELERATORS = ("auto", "gpu", "cpu", "cuda", "mps")
"""What may be asked for; ``auto`` takes a GPU where there is one, ``gpu`` warns where not."""


# Keeps this random stream apart from others that are seeded with the same numbers.
_MODEL = 0x6D6F64656C


def make_fabric(accelerator: str, devices: int, precision: str) -> Fabric:
    """Lightning Fabric for the devices asked for."""
    load_fabric_uncompiled()
    from lightning_fabric import Fabric  # noqa: PLC0415
    from lightning_fabric.plugins.environments.lightning import (  # noqa: PLC0415
        LightningEnvironment,
    )

    kind = pick_accelerator(accelerator)
    present = {"cuda": torch.cuda.device_count(), "mps": 1}.get(kind, devices)
    if not 1 <= devices <= present:
        raise ConfigError(
            f"{devices} devices were asked for, but this machine has {present} of the kind "
            f"'{kind}'; set 'devices' to a number from 1 to {max(present, 1)}."
        )
    # In a Slurm job of one task, Fabric would wait for Slurm to start the other processes.
    one_task = os.environ.get("SLURM_NTASKS") == "1" or devices == 1
    return Fabric(
        accelerator=kind,
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        precision=precision,  # type: ignore[arg-type]
        plugins=[LightningEnvironment()] if one_task else None,
    )


def own_randomness(device: torch.device) -> AbstractContextManager[None]:
    """Leave the caller's random state as it was; the loop seeds torch at every step."""
    cuda = [device.index or 0] if device.type == "cuda" else []
    return torch.random.fork_rng(devices=cuda)


def seed_model(device: torch.device, position: Sequence[int]) -> None:
    """Seed dropout and the like from (seed, step, rank), on the CPU and on the device at work.

    ``torch.manual_seed`` would do the same for every kind of device that PyTorch knows, which
    takes milliseconds at each step where they are not in use.
    """
    sequence = np.random.SeedSequence([_MODEL, *position])
    seed = int(sequence.generate_state(1, np.uint64)[0])
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


def agreed(fabric: Fabric, *flags: bool) -> list[bool]:
    """Each flag, true if it is on any rank, so that all ranks take the same turn."""
    if fabric.world_size == 1:
        return list(flags)
    numbers = torch.tensor([float(flag) for flag in flags], device=fabric.device)
    total = cast(Tensor, fabric.all_reduce(numbers, reduce_op="sum"))
    return [number > 0 for number in total.tolist()]


def summed(fabric: Fabric, sums: Mapping[str, float]) -> dict[str, float]:
    """Sums over all ranks; every rank has the same names."""
    if fabric.world_size == 1:
        return dict(sums)
    numbers = torch.tensor(list(sums.values()), dtype=torch.float64, device=fabric.device)
    total = cast(Tensor, fabric.all_reduce(numbers, reduce_op="sum"))
    return dict(zip(sums, total.tolist(), strict=True))


class GatheredPixels(Watching):
    """While it is active, a strided 1 x 1 convolution is one without strides, of fewer pixels.

    Such a convolution reads every so-manyth pixel. oneDNN 3.12, which PyTorch 2.14 has, gathers
    them itself where images lie pixel by pixel (``channels_last``, and all that is compiled for a
    CPU); for the gradient of the weights its workspace is too small if there are fewer input
    channels than numbers in a vector register, 16 with AVX-512 and 8 with AVX2. It then writes up
    to tens of kilobytes past the end, and the process ends by a signal or goes on with wrong
    numbers. Which sizes do so depends on the processor, so that all are gathered here. What is
    computed is the same but for rounding. Convolutions are replaced where they are called, so
    that it does not matter which layer calls them.
    """

    def called(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call ``func``, or for a convolution what stands in for it."""
        if func is torch.conv2d:
            func = _gather_and_convolve
        return func(*args, **kwargs)


def _gather_and_convolve(  # noqa: PLR0917, the arguments of torch.conv2d
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """``torch.conv2d``; see :class:`GatheredPixels`."""
    down, right = (stride, stride) if isinstance(stride, int) else (stride[0], stride[-1])
    pads = (padding,) if isinstance(padding, int | str) else padding
    padded = any(pad not in (0, "valid") for pad in pads)
    if weight.shape[-2:] == (1, 1) and (down, right) != (1, 1) and not padded:
        input, stride = input[..., ::down, ::right], 1
    return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)


def pick_accelerator(accelerator: str = "auto") -> str:
    """``cuda``, ``mps`` or ``cpu``: the accelerator asked for, or the best there is.

    ``gpu`` is for a job that was given one: the best there is, with a warning if that is the CPU.

    Raises:
        ConfigError: if ``cuda`` or ``mps`` is asked for and this machine has none, or the name
            does not exist.
    """
    require_known(accelerator, ACCELERATORS, f"The accelerator '{accelerator}' does not exist;")
    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if accelerator in {"auto", "gpu"}:
        best = next(name for name, there in present.items() if there)
        if accelerator == "gpu" and best == "cpu":
            logger.warning(
                "A GPU was asked for, but PyTorch %s sees none: computing on the CPU. See to the "
                "driver, or to a build of PyTorch for GPUs.",
                torch.__version__,
            )
        return best
    if not present[accelerator]:
        raise ConfigError(
            f"The accelerator '{accelerator}' was asked for, but PyTorch {torch.__version__} sees "
            "none on this machine; set it to 'auto' or 'cpu', or install a driver and a build of "
            "PyTorch for it."
        )
    return accelerator
