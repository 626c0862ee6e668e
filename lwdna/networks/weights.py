"""Weights files: a network as safetensors whose metadata say how to build it again."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from itertools import pairwise
from os import PathLike
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

from lwdna.errors import (
    CheckpointError,
    ConfigError,
    LwdnaError,
    first_line,
    require_file_name,
    require_function,
)
from lwdna.graph.inputs import inside
from lwdna.graph.meta import on_meta
from lwdna.graph.rules import rule_of
from lwdna.graph.surgery import fit, tensors_of
from lwdna.networks.build import build
from lwdna.networks.provenance import (
    NetworkSpec,
    Provenance,
    Shrinkage,
    Trained,
    Widening,
    noted_widenings,
    provenance_of,
    set_provenance,
)
from lwdna.networks.registry import input_shape
from lwdna.networks.sealed import read_sealed, whole_metadata, write_sealed
from lwdna.networks.widening import widen_again
from lwdna.tasks.sections import TaskSection
from lwdna.tasks.task import task_for

FORMAT = "lwdna-network"
VERSION = 3


def save(
    model: nn.Module,
    path: str | PathLike[str],
    *,
    task: TaskSection | None = None,
    classes: Sequence[str] | None = None,
) -> None:
    """Write a network as safetensors whose metadata say how to build it again.

    Args:
        model: any network; it is not changed.
        path: file to write, whole or not at all.
        task: what it was trained for, as the section ``task`` of an experiment has it, such as
            ``{"kind": "denoising", "sigma": 25}``; by default what the network itself says, which
            one that was loaded or trained by lwdna does. :class:`lwdna.Predictor` asks for it.
        classes: their names, in the order of its outputs, where it classifies.

    Raises:
        ConfigError: if the path names no file, or there is no such task.
        LwdnaError: if the file cannot be written.
    """
    require_file_name(path, "weights.safetensors")
    model = inside(model)
    provenance = provenance_of(model)
    if task is not None:
        trained = Trained(dict(task), task_for(task).takes(), source={"by": "lwdna.save"})
        provenance = replace(provenance, trained=trained)
    if classes is not None:
        if provenance.trained is None:
            raise ConfigError(
                "There are names of classes, but nothing says what the network was trained for; "
                "give the task as well."
            )
        named = replace(provenance.trained, classes=[str(name) for name in classes])
        provenance = replace(provenance, trained=named)
    about = {"format": FORMAT, "version": VERSION, **description(model, provenance)}
    write_sealed(path, about, tensors_of(model))


def description(model: nn.Module, provenance: Provenance | None = None) -> dict[str, Any]:
    """What a file says of a network, as JSON: all that :func:`rebuilt` needs beside the tensors.

    Args:
        model: the network.
        provenance: where it comes from; by default what is noted on it.
    """
    provenance = provenance or provenance_of(model)
    about: dict[str, Any] = {
        "network": provenance.spec and asdict(provenance.spec),
        "kept": provenance.kept,
        "shrinkage": provenance.shrinkage and asdict(provenance.shrinkage),
        "arguments": provenance.arguments,
        **noted_widenings(provenance),
        "modules": _modules(model),
    }
    if provenance.numbers:
        about["numbers"] = provenance.numbers
    if provenance.trained is not None:
        about["trained"] = asdict(provenance.trained)
    return about


def load(path: str | PathLike[str], network: Callable[[], nn.Module] | None = None) -> nn.Module:
    """Read a network that was saved by this package; no code is run from the file.

    Args:
        path: a file of ``Shrunk.save`` or of the pipeline.
        network: for a network that ``lwdna.build`` did not make, a function that makes the
            network that was given to ``lwdna.shrink`` or ``lwdna.widen``; what these widened is
            widened again.

    Returns:
        A plain module on the CPU in evaluation mode, without any hypernetwork.

    Raises:
        CheckpointError: if the file is damaged, foreign, or belongs to another network.
        ConfigError: if the path names no file, or ``network`` is no such function.
    """
    if network is not None:
        require_function(
            network,
            0,
            "What is to make the network",
            "a function that is called without arguments and returns the network, such as "
            "lambda: Net(width=2)",
        )
    about, state = _read(path)
    with whole_metadata(path):
        described(about)
    return rebuilt(about, state, path, network).eval()


def rebuilt(
    about: Mapping[str, Any],
    state: Mapping[str, Tensor],
    path: str | PathLike[str],
    network: Callable[[], nn.Module] | None = None,
) -> nn.Module:
    """A network of what a file says and holds.

    Args:
        about: of :func:`description`.
        state: by name every parameter and buffer, of any shape.
        path: the file, for messages.
        network: as in :func:`load`.

    Raises:
        CheckpointError: if they do not belong together, or to what ``network`` makes.
    """
    provenance, modules = described(about)
    try:
        if network is not None:
            wide = network()
            if not isinstance(wide, nn.Module):
                raise CheckpointError(
                    f"The function given made an object of type {type(wide).__name__}; let it "
                    "return the widened network."
                )
            wide = inside(wide)
        elif provenance.spec is not None:
            wide = build_on_meta(provenance.spec, most=len(state))
        else:
            raise CheckpointError(
                "It holds a network that lwdna.build did not make; say how to make it: "
                "lwdna.load(path, network=function that returns the widened network)."
            )
        for widening in provenance.widened:
            wide = widen_again(on_meta(wide, values=True), widening)
        small = fit(wide, state, provenance.kept, provenance.numbers)
        _check_kept(small, wide, provenance)
        if _modules(small) != modules:
            raise CheckpointError(
                "Its network was changed after it was built, or another one is given: the modules "
                "are not those that were saved; give network=function that returns the same one."
            )
        if provenance.spec is not None and network is None:
            _check_runs(small, provenance.spec)
    except (LwdnaError, TypeError, RuntimeError, ArithmeticError, ValueError) as error:
        raise CheckpointError(f"'{path}' cannot be loaded: {first_line(error)}") from error
    set_provenance(small, provenance)
    return small


@torch.no_grad()
def _check_runs(model: nn.Module, spec: NetworkSpec) -> None:
    """Let a network run on no image at all, which still takes layers that fit each other."""
    _, *shape = input_shape(spec.name, spec.dataset)
    modes = [module.training for module in model.modules()]
    model.eval()(torch.empty(0, *shape))
    for module, training in zip(model.modules(), modes, strict=True):
        module.training = training


def _modules(model: nn.Module) -> str:
    """Names and kinds of the layers, as one number; what they are put into may be renamed."""
    kinds = [
        (name, type(module).__qualname__)
        for name, module in model.named_modules()
        if next(module.children(), None) is None
    ]
    return hashlib.sha256(repr(kinds).encode()).hexdigest()


def build_on_meta(spec: NetworkSpec, *, most: int) -> nn.Module:
    """The network of ``spec`` without data.

    Raises:
        CheckpointError: as soon as it has clearly more than ``most`` tensors, so that a number of
            blocks that somebody wrote into a file cannot fill the memory.
    """
    numbers = itertools.count()

    def count(_module: nn.Module, name: str, tensor: Any) -> None:
        # Twice: a network may replace tensors while it is built.
        if tensor is not None and next(numbers) >= 2 * most:
            raise CheckpointError(
                f"Its network has more tensors than the {most} in the file (such as '{name}')."
            )

    with ExitStack() as stack:
        for register in (
            register_module_parameter_registration_hook,
            register_module_buffer_registration_hook,
        ):
            handle: Any = register(count)
            stack.callback(handle.remove)
        stack.enter_context(torch.device("meta"))
        return build(spec.name, dataset=spec.dataset, width=spec.width, **spec.options)


def _check_kept(small: nn.Module, wide: nn.Module, provenance: Provenance) -> None:
    """Refuse channel indices that do not agree with the layers."""
    for layer, indices in (provenance.kept or {}).items():
        try:
            module, origin = small.get_submodule(layer), wide.get_submodule(layer)
        except AttributeError as error:
            raise CheckpointError(f"It keeps channels of '{layer}', which is no layer.") from error
        before, after = (_made_by(m) for m in (origin, module))
        noted = provenance.shrinkage and provenance.shrinkage.channels_before.get(layer)
        if noted is not None and noted != before:
            advice = (
                "give the one that was given to lwdna, which widens it again"
                if provenance.widened
                else "make that as wide as the one that was shrunk"
            )
            raise CheckpointError(
                f"'{layer}' had {noted} channels before it was shrunk, but has {before} in the "
                f"network given; {advice}."
            )
        rising = all(a < b for a, b in pairwise(indices))
        inside = bool(indices) and indices[0] >= 0 and indices[-1] < before
        if len(indices) != after or not rising or not inside:
            raise CheckpointError(f"The channel indices of '{layer}' do not fit its weights.")


def _made_by(layer: nn.Module) -> int:
    """How many channels a layer makes."""
    rule = rule_of(layer)
    if rule is not None:
        return rule.sizes(layer).get("out", 0)
    return int(getattr(layer, "out_channels", getattr(layer, "out_features", 0)))  # type: ignore


def read_provenance(path: str | PathLike[str]) -> Provenance:
    """What the file of a network says about it, without the network.

    Raises:
        CheckpointError: if the file is damaged or foreign.
    """
    about, _ = _read(path)
    with whole_metadata(path):
        return described(about)[0]


def described(about: Mapping[str, Any]) -> tuple[Provenance, str]:
    """The provenance that a file tells, and which layers the network has, as one number.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: if it is not of :func:`description`.
    """
    spec = about["network"] and NetworkSpec(**about["network"])
    kept = about["kept"] and {
        str(layer): [int(index) for index in indices] for layer, indices in about["kept"].items()
    }
    shrinkage = about["shrinkage"] and Shrinkage.read(about["shrinkage"])
    if (kept or {}).keys() != (shrinkage.channels_before if shrinkage else {}).keys():
        raise ValueError("it says only in part what was kept")
    widened = tuple(Widening(**widening) for widening in about.get("widened", ()))
    numbers = {str(name): int(n) for name, n in about.get("numbers", {}).items()}
    arguments = dict(about["arguments"])
    trained = Trained.read(about["trained"]) if "trained" in about else None
    provenance = Provenance(spec, kept, shrinkage, arguments, widened, numbers, trained)
    return provenance, str(about["modules"])


def _read(path: str | PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What the file of a network says and holds."""
    return read_sealed(
        path, (FORMAT, VERSION), what="a network", source="`lwdna shrink` or the pipeline"
    )
