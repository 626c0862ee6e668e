"""Image restoration: its loss, and whole images through a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from lwdna.data.transforms import to_tensor
from lwdna.errors import ConfigError
from lwdna.tasks.kinds import KINDS
from lwdna.tasks.metrics import conventions, psnr, ssim
from lwdna.tasks.sections import Convention, NetworkSection
from lwdna.tasks.task import Example, Measuring, Named, Sums, Task

if TYPE_CHECKING:  # images are measured without HDF5
    from lwdna.data.restoration import Sampling


def input_multiple(model: nn.Module) -> int:
    """What the height and width of a network's input must be divisible by, if it says so."""
    return int(getattr(model, "multiple", 1))


def restore(model: nn.Module, inputs: Tensor, *, multiple: int = 1) -> Tensor:
    """The output of a restoration network for images of any size.

    A network that halves its input k times, such as a U-Net, needs sizes divisible by 2^k: the
    input is padded by reflection at the right and bottom, and the output is cropped back, at
    its own scale.

    Args:
        model: maps (B, C, h, w) to (B, C, s h, s w).
        inputs: (B, C, h, w).
        multiple: what the padded sizes are divisible by; 1 for no padding.

    Returns:
        (B, C, s h, s w).
    """
    height, width = inputs.shape[-2:]
    inputs = padded(inputs, multiple)
    output: Tensor = model(inputs)
    scale = output.shape[-2] // inputs.shape[-2]
    return output[..., : height * scale, : width * scale]


def padded(inputs: Tensor, multiple: int) -> Tensor:
    """Images ``(B, C, h, w)``, continued at the bottom and right to sizes that divide by a number.

    They are mirrored there; of an image that is too small for that the edge is repeated.
    """
    height, width = inputs.shape[-2:]
    bottom, right = -height % multiple, -width % multiple
    if not (bottom or right):
        return inputs
    mode = "reflect" if bottom < height and right < width else "replicate"
    return functional.pad(inputs, (0, right, 0, bottom), mode=mode)


def to_bytes(image: Tensor) -> NDArray[np.uint8]:
    """An image to look at: (C, H, W) on the 0-255 scale to bytes (H, W, 3), or (H, W) if gray."""
    pixels: NDArray[np.uint8] = image.clamp(0, 255).round().to(torch.uint8).numpy()
    return pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1)


def conventions_for(kind: str, convention: str | Convention | None, scale: int) -> Convention:
    """The arguments of :func:`lwdna.tasks.metrics.psnr` for a kind of task.

    Args:
        kind: of the task.
        convention: a name of :data:`lwdna.tasks.metrics.PRESETS`, or the arguments themselves; by
            default the first that is usual for the kind.
        scale: how much larger the output is than the input.
    """
    if convention is None:
        convention = KINDS[kind].conventions[0]
    if isinstance(convention, str):
        return conventions(convention, scale=scale)
    return convention


_SIDE = 32
"""Height and width of an image that every network takes, even one that halves it."""


def _black(degraded: Tensor, clean: Tensor) -> tuple[Tensor, Tensor]:
    """A black image like another, and its target: (C, h, w) and (C, s h, s w), of one size."""
    side = _SIDE * (clean.shape[-1] // degraded.shape[-1])
    return torch.zeros(len(degraded), _SIDE, _SIDE), torch.zeros(len(clean), side, side)


@dataclass(frozen=True)
class Restoration(Task):
    """Images on the 0-255 scale: L1 loss; PSNR in dB of the unrounded output, all channels.

    This PSNR is for following a training on its patches; results are measured on whole images,
    with the conventions of the benchmark.
    """

    metric_names: ClassVar[tuple[str, ...]] = ("psnr",)
    one_by_one: ClassVar[bool] = True

    def sampling(self, seed: int) -> Sampling:
        """Which patches a training with this seed sees."""
        return {
            "patch_size": self.key("patch_size"),
            "samples_per_epoch": self.section.get("samples_per_epoch"),
            "seed": seed,
        }

    def loss(self, output: Tensor, target: Tensor, teacher_output: Tensor | None = None) -> Tensor:
        """Mean absolute difference of images (B, C, H, W) on the 0-255 scale, a scalar."""
        return functional.l1_loss(output, target)

    def metrics(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """PSNR in dB of images (B, C, H, W), summed over the batch (at most 148 dB each)."""
        error = (output - target).square().flatten(1).mean(dim=1)
        # A patch restored exactly, which a tiny test can meet, would make the mean infinite.
        return {"psnr": (10 * torch.log10(255.0**2 / error.clamp_min(1e-10))).sum()}

    def infer(self, model: nn.Module, inputs: Tensor, *, multiple: int = 1) -> Tensor:
        """See :func:`restore`: (B, C, h, w) to (B, C, s h, s w)."""
        return restore(model, inputs, multiple=multiple)

    def evaluate_batch(
        self, model: nn.Module, inputs: Tensor, targets: Tensor, **how: Unpack[Measuring]
    ) -> Sums:
        """Restore one whole image, and take its PSNR in dB and, if full, its SSIM.

        Args:
            model: maps (1, C, h, w) to (1, C, s h, s w).
            inputs: (1, C, h, w).
            targets: (1, C, H, W), from which s is read off.
            how: the convention is one of :func:`conventions_for`; SSIM is what is costly.
        """
        outputs = self.infer(model, inputs, multiple=how.get("multiple", 1))
        scale = targets.shape[-2] // inputs.shape[-2]
        arguments = conventions_for(self.section["kind"], how.get("convention"), scale)
        values = {"psnr": psnr(outputs[0], targets[0], **arguments)}
        if how.get("full", True):
            values["ssim"] = ssim(outputs[0], targets[0], **arguments)
        return {**values, "loss": float(self.loss(outputs, targets)) * len(inputs)}

    @property
    def channels(self) -> int:
        """Of the images."""
        return 1 if self.kind.store == "gray" else 3

    def takes(self, data: Any = None) -> dict[str, Any]:
        """Images of any size on the scale 0-255, as they are."""
        return {"channels": self.channels, "range": [0, 255]}

    def prepare(self, picture: NDArray[Any], size: Sequence[int] | None) -> Tensor:
        """The picture (H, W, C) as it is, float32 (C, H, W), values 0-255."""
        return to_tensor(picture)

    def answer(self, output: Tensor, classes: Sequence[str] | None = None) -> NDArray[np.uint8]:
        """The restored picture, (C, H, W), as bytes (H, W) or (H, W, 3)."""
        return to_bytes(output)

    def random_batch(
        self, network: NetworkSection, images: int, shape: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """Noise (B, C, h, w), and (B, C, s h, s w), larger by the scale s of the task."""
        inputs = torch.rand(images, *shape[1:])
        scale = self.section.get("scale", 1)
        return inputs, torch.rand(images, shape[1], shape[2] * scale, shape[3] * scale)

    def check_fits(self, model: nn.Module, data: Any, spec: Named | None) -> None:
        """The size of a patch must be one that the network can take."""
        multiple, patch_size = input_multiple(model), getattr(data, "patch_size", 0)
        if patch_size % multiple:
            raise ConfigError(
                f"task.patch_size is {patch_size}, but this network needs a multiple of {multiple}."
            )

    def example(self, data: Any) -> Example | None:
        """The first patch of a training, or a black image like the first of a test."""
        degraded, clean = data[0, 0] if getattr(data, "patch_size", 0) else _black(*data[0])
        return Example(degraded[None], (1, *clean.shape), "let it return an image of that size")
