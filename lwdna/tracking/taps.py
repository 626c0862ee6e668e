"""Any network as the backbone of a tracker: two of its feature maps, by the names of layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lwdna.errors import ConfigError, first_line
from lwdna.graph.meta import duplicate, on_meta


class Geometry(NamedTuple):
    """What a map of features is like."""

    channels: int
    stride: int
    """Pixels of the image between two of its cells."""
    cells: int
    """Along each side, for the size of images that it was measured at."""


class _EnoughError(Exception):
    """Ends the forward of a network whose maps are all there."""


class Taps(nn.Module):
    """A network that gives two of its feature maps, a fine and a coarse one, and ends there.

    The network stays whole, so that it can be saved and loaded as what it is. What comes after the
    last tap is neither run nor trained: its parameters, and others that no map depends on, no
    longer require gradients.

    Args:
        network: any module that takes images (B, 3, S, S).
        names: of two of its layers, as in ``named_modules``, such as ("layer2", "layer3") of a
            ResNet; the first map must have twice the resolution of the second.
        size: S, height and width of the images in pixels.

    Attributes:
        fine, coarse: what the two maps are like.

    Raises:
        ConfigError: if a layer does not exist or is not run, gives no map, or the strides of the
            two are not as 1 to 2.
    """

    def __init__(self, network: nn.Module, names: tuple[str, str], size: int) -> None:
        super().__init__()
        layers = dict(network.named_modules())
        for name in names:
            if not name or name not in layers:
                raise ConfigError(
                    f"The tap '{name}' is no layer of {type(network).__name__}; its layers at the "
                    f"top are {', '.join(n for n, _ in network.named_children())}."
                )
        self.network = network
        self.names = (names[0], names[1])
        self.fine, self.coarse, unused = _measured(network, self.names, size)
        for name, parameter in network.named_parameters():
            if name in unused:
                parameter.requires_grad_(False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, 3, S, S) to the maps (B, C, H, W), the fine one first.

        Images are made contiguous: channels_last ones crash PyTorch's 1 x 1 convolutions of stride
        2 with few channels in the backward on some CPUs (tested with 2.14).
        """
        return _maps(self.network, self.names, images.contiguous())


def _maps(network: nn.Module, names: tuple[str, str], images: Tensor) -> tuple[Any, Any]:
    """What two layers give for images, by hooks that are there only meanwhile."""
    found: dict[str, tuple[Any, int]] = {}

    def keep(name: str, _module: nn.Module, _inputs: Any, output: Any) -> None:
        found.setdefault(name, (output, _changes(output)))
        if len(found) == len(set(names)):
            raise _EnoughError

    hooks = [
        network.get_submodule(name).register_forward_hook(partial(keep, name))
        for name in dict.fromkeys(names)
    ]
    try:
        network(images)
    except _EnoughError:
        for name, (output, changes) in found.items():
            if _changes(output) != changes:
                raise ConfigError(
                    f"The tap '{name}' gives a map that a layer after it overwrites in place; name "
                    "that layer instead."
                ) from None
        return found[names[0]][0], found[names[1]][0]
    finally:
        for hook in hooks:
            hook.remove()
    missing = next(name for name in names if name not in found)
    raise ConfigError(f"The tap '{missing}' is not run by {type(network).__name__}; name another.")


def _changes(output: Any) -> int:
    """How often a tensor was changed in place, as far as PyTorch counts it."""
    counted = isinstance(output, Tensor) and not output.is_inference()
    return output._version if counted else 0


def _measured(
    network: nn.Module, names: tuple[str, str], size: int
) -> tuple[Geometry, Geometry, frozenset[str]]:
    """The two maps, and the parameters that neither depends on; no data and little time is used."""
    try:
        return _measured_by(on_meta, network, names, size)
    except ConfigError:
        raise
    except Exception:
        # What cannot be run without data, such as a network that looks at the values of a tensor.
        try:
            return _measured_by(duplicate, network, names, size)
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(
                f"{type(network).__name__} cannot be run on images of (B, 3, {size}, {size}): "
                f"{first_line(error)}; choose another size or network."
            ) from error


def _measured_by(
    copy: Callable[[nn.Module], nn.Module], network: nn.Module, names: tuple[str, str], size: int
) -> tuple[Geometry, Geometry, frozenset[str]]:
    model = copy(network).eval().requires_grad_(True)
    parameters = dict(model.named_parameters())
    device = next((p.device for p in parameters.values()), torch.device("cpu"))
    with torch.inference_mode(False):
        with torch.no_grad():
            large = _maps(model, names, torch.zeros(1, 3, 2 * size, 2 * size, device=device))
        with torch.enable_grad():
            small = _maps(model, names, torch.zeros(1, 3, size, size, device=device))
    fine, coarse = (
        _geometry(name, a, b, size) for name, a, b in zip(names, small, large, strict=True)
    )
    if coarse.stride != 2 * fine.stride:
        raise ConfigError(
            f"The taps '{names[0]}' and '{names[1]}' have the strides {fine.stride} and "
            f"{coarse.stride}; the second must be twice the first."
        )
    used = _origins(small)
    unused = (name for name, parameter in parameters.items() if id(parameter) not in used)
    return fine, coarse, frozenset(unused)


def _origins(outputs: Iterable[Tensor]) -> set[int]:
    """The identities of the parameters that outputs depend on."""
    found, waiting = set(), [output.grad_fn for output in outputs]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        if node is None:
            continue
        if hasattr(node, "variable"):
            found.add(id(node.variable))
        following = {n for n, _ in node.next_functions} - seen
        seen |= following
        waiting += following
    return found


def _geometry(name: str, small: Any, large: Any, size: int) -> Geometry:
    """A map by what it is for images of a size, and of twice that size."""
    if not isinstance(small, Tensor) or small.ndim != 4 or len(small) != 1:
        shape = f" of shape {tuple(small.shape)}" if isinstance(small, Tensor) else ""
        raise ConfigError(
            f"The tap '{name}' gives a {type(small).__name__}{shape} for an image, which is no map "
            "of features (1, C, H, W); name a layer that gives one."
        )
    _, channels, height, width = small.shape
    stride, rest = divmod(size, max(large.shape[2] - height, 1))
    if height != width or large.shape[2] != large.shape[3] or rest or large.shape[2] == height:
        raise ConfigError(
            f"The tap '{name}' gives a map of {height} x {width} cells for images of {size} x "
            f"{size} pixels, and of {large.shape[2]} x {large.shape[3]} for those of twice the "
            "size; name a layer whose map is square and has a cell for every so many pixels, or "
            "choose a size that these divide."
        )
    return Geometry(int(channels), stride, int(height))
