"""``lwdna.Predictor``: what a trained network makes of pictures, in Python and for the command."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from os import PathLike
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lwdna.data.catalog import dataset_shape
from lwdna.errors import (
    ConfigError,
    DataError,
    LwdnaError,
    first_line,
    require,
    says_memory_is_full,
)
from lwdna.graph.inputs import inside
from lwdna.networks.provenance import provenance_of
from lwdna.networks.registry import find_network
from lwdna.networks.weights import load as load_network
from lwdna.prediction.pictures import as_pixels, fitted, opening
from lwdna.tasks.metrics import psnr
from lwdna.tasks.restoration import conventions_for, input_multiple
from lwdna.tasks.sections import TaskSection
from lwdna.tasks.task import Task, task_for
from lwdna.tasks.tiles import reach, restore_in_tiles, smallest_tile
from lwdna.training.devices import pick_accelerator
from lwdna.training.evaluation import infer_example

logger = logging.getLogger(__name__)

SMALLEST = 64
"""Pixels of a side of the smallest tile that is tried by itself."""

AfterTile = Callable[[int, int], None]


class Predictor:
    """A trained network that is called with pictures.

    Args:
        model: it is put into evaluation mode, on the device asked for.
        task: what it was trained for, as the section ``task`` of an experiment has it; by default
            what is noted on the network.
        classes: their names, in the order of its outputs, where it classifies; the same.
        size: height and width of the pictures that it takes, if it takes but one size; the same.
        tile: pixels of a side of the tiles that pictures are restored in; by default they are
            restored whole, and in tiles where the memory does not hold that.
        gray: whether colour is converted, for a network of gray pictures.
        resize: whether pictures of another size are brought to that of the network.
        accelerator: auto, gpu, cpu, cuda or mps.

    Raises:
        ConfigError: if it is not known what the network was trained for, or it is not that.
    """

    def __init__(
        self,
        model: nn.Module,
        task: TaskSection | None = None,
        *,
        classes: Sequence[str] | None = None,
        size: Sequence[int] | None = None,
        tile: int | None = None,
        gray: bool = False,
        resize: bool = False,
        accelerator: str = "auto",
        name: str = "The network",
    ) -> None:
        self.model = inside(model).eval()
        trained = provenance_of(self.model).trained
        if task is None and trained is None:
            raise ConfigError(
                f"{name} does not say what it was trained for, as weights of earlier versions and "
                "other programs do not; say it: --task, such as "
                '\'{"kind": "denoising", "sigma": 70}\' (in Python task={...}).'
            )
        if task is not None and trained is not None and dict(task) != trained.task:
            raise ConfigError(
                f"{name} was trained for {trained.task}, but the task {dict(task)} was given; "
                "leave that out."
            )
        self.task: Task = task_for(trained.task if task is None and trained else task or {})
        self._name = name
        self.takes: Mapping[str, Any] = self.task.takes() | (trained.takes if trained else {})
        """What goes into the network, such as ``channels`` and ``range``."""
        self.size = self._one_size(size)
        self.classes = classes or (trained.classes if trained else None)
        """Names, in the order of its outputs."""
        require(tile is None or tile > 0, "tile", tile, "a whole number of pixels above 0")
        if tile is not None and not self.task.kind.restores:
            raise ConfigError(
                f"{name} restores no pictures, and looks at each as a whole; leave --tile out."
            )
        self._tile, self._gray, self._resize = tile, gray, resize
        self.model.to(pick_accelerator(accelerator))

    @classmethod
    def load(
        cls,
        path: str | PathLike[str],
        *,
        network: Callable[[], nn.Module] | None = None,
        **how: Any,
    ) -> Predictor:
        """The predictor of a file of weights.

        Args:
            path: of a training, or of ``lwdna.save``.
            network: as for ``lwdna.load``.
            how: the other arguments of the class.

        Raises:
            CheckpointError: as ``lwdna.load``.
            ConfigError: as the class.
        """
        return cls(load_network(path, network), name=f"'{path}'", **how)

    def __call__(self, picture: Any, *, after_tile: AfterTile | None = None) -> Any:
        """What the network makes of a picture.

        Args:
            picture: a file, an array (H, W) or (H, W, 3), an image of Pillow, or a tensor
                (C, H, W); on the scale 0-255.
            after_tile: called after each tile with its number and how many there are.

        Returns:
            A restored picture as bytes (H, W) or (H, W, 3); or all classes, the likeliest first,
            each with its ``name`` and ``probability``.

        Raises:
            DataError: if the picture is not one that the network takes.
        """
        return self.answer(*self.check(picture), after_tile=after_tile)

    def check(self, picture: Any) -> tuple[Tensor, str]:
        """What goes into the network of a picture, ``(C, H, W)``, and what to call the picture.

        Raises:
            DataError: if the picture is not one that the network takes.
        """
        pixels, name = as_pixels(picture)
        prepared = fitted(pixels, name, self.task, gray=self._gray)
        return self._prepare(prepared, name), name

    def answer(self, inputs: Tensor, name: str, *, after_tile: AfterTile | None = None) -> Any:
        """As a call, of what goes into the network, (C, H, W); ``name`` is for messages."""
        doubt = self.task.doubt(inputs)
        if doubt:
            logger.warning("%s may come out badly: %s.", opening(name), doubt)
        output = self._restore(inputs, name, after_tile)
        if self.task.kind.restores:
            self._check_restored(inputs, output, name)
        elif output.ndim != 1 or (self.classes is not None and len(output) != len(self.classes)):
            raise ConfigError(
                f"{self._name} makes {_by(output.shape)} of {name}, but there are "
                f"{len(self.classes or ())} names of classes; give the names of all (--classes)."
            )
        return self.task.answer(output, self.classes)

    def psnr(
        self, restored: NDArray[np.uint8], target: Tensor, convention: str | None = None
    ) -> float:
        """PSNR of a restored picture in dB, as tests measure it.

        Args:
            restored: (H, W) or (H, W, 3).
            target: (C, H, W) on the scale 0-255.
            convention: a name of :data:`lwdna.tasks.metrics.PRESETS`; by default the usual one.

        Raises:
            DataError: if the sizes differ, or are too small for the convention.
        """
        scale = self.task.section.get("scale", 1)
        arguments = conventions_for(self.task.section["kind"], convention, scale)
        return psnr(np.moveaxis(np.atleast_3d(restored), -1, 0), target, **arguments)

    def _one_size(self, size: Sequence[int] | None) -> Sequence[int] | None:
        """Height and width of what the network takes, and whether it can be of this task."""
        provenance = provenance_of(self.model)
        spec, shrinkage = provenance.spec, provenance.shrinkage
        labelled = self.task.kind.labelled
        if spec is not None:
            dataset = find_network(spec.name).dataset
            if (dataset is not None) != labelled:
                raise ConfigError(
                    f"{self._name} is {spec.name}, which does not serve "
                    f"{self.task.section['kind']}; say what it was trained for."
                )
        if not labelled or "crop" in self.task.section:
            return None
        size = size or self.takes.get("size")
        if size is None and spec is not None and spec.dataset is not None:
            side = dataset_shape(spec.dataset).size
            size = (side, side)
        if size is None and shrinkage is not None:
            size = shrinkage.inputs[0][-2:]
        if size is None:
            raise ConfigError(
                f"{self._name} does not say of what size its pictures are; say it: --input, such "
                "as 1x3x32x32 (in Python size=(32, 32))."
            )
        return size

    def _prepare(self, pixels: NDArray[Any], name: str) -> Tensor:
        resizes = self._resize and pixels.dtype == np.uint8  # what is not of bytes is refused below
        if resizes and self.size is not None and pixels.shape[:2] != tuple(self.size):
            from lwdna.data.transforms import CentreCrop  # noqa: PLC0415 - torchvision takes long

            height, width = self.size
            if height != width:
                raise ConfigError(
                    f"The network takes {height} x {width} pixels, and pictures are resized to "
                    "squares alone; resize them yourself, and leave --resize out."
                )
            pixels = CentreCrop(height, height)(pixels)
        try:
            return self.task.prepare(pixels, self.size)
        except DataError as error:
            raise DataError(str(error).replace("The picture", opening(name), 1)) from error

    def _restore(self, inputs: Tensor, name: str, after_tile: AfterTile | None) -> Tensor:
        """The output for one input, in tiles if that is wanted or the memory is full."""
        for tile in self._tiles(inputs):
            try:
                return self._run(inputs, name, tile, after_tile)
            except Exception as error:
                if not says_memory_is_full(error):
                    raise
            # Outside of the handler, which holds on to what has filled the memory.
            torch.cuda.empty_cache()
            logger.warning("The memory is full with %s %s; trying smaller tiles.", name, _of(tile))
        raise LwdnaError(
            f"The memory is full with {name}, even in tiles; give a smaller --tile, or more memory."
        )

    def _tiles(self, inputs: Tensor) -> Iterator[int | None]:
        """Sizes of tiles to try, None for the whole picture."""
        side = max(inputs.shape[-2:])
        yield None if self._tile is None or self._tile >= side else self._tile
        if self._tile is None and self.task.kind.restores:
            tile = 1 << (side - 1).bit_length()
            seen, multiple = self._seen, input_multiple(self.model)
            least = side if seen is None else max(SMALLEST, smallest_tile(seen, multiple))
            while (tile := tile // 2) >= least:
                yield tile

    def _run(
        self, inputs: Tensor, name: str, tile: int | None, after_tile: AfterTile | None
    ) -> Tensor:
        multiple = input_multiple(self.model)
        try:
            seen = None if tile is None else self._seen
            if tile is None:
                made = infer_example(self.model, inputs, task=self.task, multiple=multiple)
                output: Tensor = made
            elif seen is None:
                raise ConfigError(
                    f"{self._name} looks at the whole picture for every pixel, so that tiles would "
                    "give another picture; leave --tile out."
                )
            else:
                output = restore_in_tiles(
                    self.model,
                    inputs[None],
                    tile=tile,
                    overlap=seen,
                    multiple=multiple,
                    after_tile=after_tile,
                )[0]
        except (LwdnaError, MemoryError):
            raise
        except (RuntimeError, TypeError, ValueError, IndexError, AttributeError) as error:
            if says_memory_is_full(error):
                raise
            raise ConfigError(
                f"{self._name} does not run on {name} ({_by(inputs.shape)}): {first_line(error)}; "
                "see whether it was trained for that."
            ) from error
        return output

    @cached_property
    def _seen(self) -> int | None:
        """How many pixels around each one the network sees; None if all of them."""
        channels = int(self.takes.get("channels", 3))
        return reach(self.model, channels, input_multiple(self.model))

    def _check_restored(self, inputs: Tensor, output: Any, name: str) -> None:
        """Refuse what is no picture of the size that the task asks for."""
        scale = self.task.section.get("scale", 1)
        wanted = (inputs.shape[0], *(scale * side for side in inputs.shape[1:]))
        if not isinstance(output, Tensor) or tuple(output.shape) != wanted:
            found = _by(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ConfigError(
                f"{self._name} makes {found} of {name} ({_by(inputs.shape)}), but for the task "
                f"{dict(self.task.section)} it must be {_by(wanted)}; it was trained for another."
            )
        if not torch.isfinite(output).all():
            raise DataError(
                f"{self._name} makes numbers of {name} that are not finite; its weights are of no "
                "use."
            )


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _of(tile: int | None) -> str:
    return "as a whole" if tile is None else f"in tiles of {tile} pixels"
