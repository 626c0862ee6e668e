"""Export: a network as an ONNX file or a ``torch.export`` program, checked against the network."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.utils import _pytree as pytree

from lwdna.errors import ConfigError, LwdnaError, first_line, require_file_name, require_known
from lwdna.graph.inputs import as_inputs, inside
from lwdna.io.atomic import atomic
from lwdna.networks.provenance import provenance_of
from lwdna.tasks.restoration import input_multiple

SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}
"""What a network can be exported to, and the suffix of such a file."""

TOLERANCE = 1e-5
"""Largest difference between the outputs of the file and of the network, as a share of the
largest output."""

_ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")

_BATCH, _SIZES, _NOTHING = "batch size", "batch size, height and width", "nothing"

Function = Callable[[tuple[Tensor, ...]], list[Tensor]]
Shapes = list[tuple[int, ...]]


def export(
    model: nn.Module,
    example_input: Tensor | Sequence[Tensor],
    path: str | PathLike[str],
    *,
    to: str | None = None,
) -> str:
    """Write a network, in evaluation mode on the CPU, as a file that needs no lwdna.

    The batch may be of any size. Height and width may be too, where the network makes images from
    images and a program can be found for that; if the network has an attribute ``multiple``, they
    must be multiples of it. What is to be written is first read again, and must compute what the
    network computes, on inputs drawn at random, of other sizes too where sizes may vary. What the
    network was trained for goes with it, as JSON: ``task``, ``takes``, ``classes`` and ``source``
    in the metadata of ONNX, ``task.json`` and so on in a program.

    Args:
        model: the network; it is not changed.
        example_input: ``(B, C, H, W)``, or a tuple of inputs; only their shapes matter.
        path: file to write, whole or not at all.
        to: "onnx" (one file with the weights) or "torch" (``torch.export``); by default what the
            suffix of ``path`` says.

    Returns:
        What of the input's shape may vary: "batch size, height and width", "batch size" or
        "nothing".

    Raises:
        ConfigError: for an unknown format, or an input that the network does not accept.
        LwdnaError: if a package is missing, the network cannot be exported, the file would
            compute something else, or it cannot be written.
    """
    to = _format(require_file_name(path, "small.onnx"), to)
    small = copy.deepcopy(inside(model)).cpu().eval().requires_grad_(False)
    shapes = [tuple(x.shape) for x in as_inputs(example_input)]
    maps_images = _maps_images(small, shapes)
    trained = provenance_of(inside(model)).trained
    said = {} if trained is None else {k: json.dumps(v) for k, v in asdict(trained).items()}
    reason = ""
    for varying in (_SIZES, _BATCH, _NOTHING) if maps_images else (_BATCH, _NOTHING):
        try:
            with _quiet():
                content = _encode(small, shapes, varying, to, said)
                for sizes in _trials(shapes, varying, input_multiple(small)):
                    _compare(small, _decode(content, to), _draw(small, sizes))
            break
        except Exception as error:
            # What varies less may still work; the last reason counts.
            reason = first_line(error).rstrip(".")
    else:
        raise LwdnaError(
            f"{type(model).__name__} cannot be exported to '{path}': {reason}. Nothing was "
            f"written; try --to {'torch' if to == 'onnx' else 'onnx'}, or rewrite that part of "
            "the network."
        )
    with atomic(path) as temporary:
        temporary.write_bytes(content)
    return varying


def _format(path: Path, to: str | None) -> str:
    """The format asked for; refuse one that does not exist, or that packages are missing for."""
    if to is None:
        formats = {suffix: name for name, suffix in SUFFIXES.items()}
        if path.suffix not in formats:
            raise ConfigError(
                f"The name '{path}' does not say what to export to; let it end in "
                + " or ".join(f"'{suffix}'" for suffix in formats)
                + "."
            )
        to = formats[path.suffix]
    require_known(to, SUFFIXES, f"Networks cannot be exported to '{to}';")
    missing = [name for name in _ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if to == "onnx" and missing:
        raise LwdnaError(
            f"Export to ONNX needs the Python package {' and '.join(missing)}; run "
            f"'pip install {' '.join(_ONNX_PACKAGES)}', or export to torch."
        )
    return to


def _maps_images(model: nn.Module, shapes: Shapes) -> bool:
    """Whether a network makes images ``(B, C, H, W)`` from images.

    Raises:
        ConfigError: if it does not run.
    """
    try:
        outputs = _run(model)(_draw(model, shapes))
    except Exception as error:
        given = ", ".join("x".join(map(str, shape)) for shape in shapes)
        raise ConfigError(
            f"The network does not run on an input of {given}: "
            f"{first_line(error)}. Give an input that it "
            "accepts, for example --input 1x3x32x32."
        ) from error
    return len(shapes) == 1 and all(len(s) == 4 for s in (*shapes, *(x.shape for x in outputs)))


def _encode(model: nn.Module, shapes: Shapes, varying: str, to: str, said: dict[str, str]) -> bytes:
    """The network as the bytes of a file, with what is said of it, by name."""
    dynamic = None
    if varying != _NOTHING:
        shapes = [(2, *shape[1:]) for shape in shapes]  # 1 would be taken for a constant
        axes: dict[int, Any] = {0: Dim("batch")}
        if varying == _SIZES:
            multiple = input_multiple(model)
            height, width = Dim("height"), Dim("width")
            axes |= {2: height, 3: width}
            if multiple > 1:
                axes |= {2: multiple * height, 3: multiple * width}
        dynamic = tuple(dict(axes) for _ in shapes)
    program = torch.export.export(model, _draw(model, shapes), dynamic_shapes=dynamic, strict=False)
    if to == "onnx":
        return _onnx(program, len(shapes), said)
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={f"{k}.json": v for k, v in said.items()})
    return buffer.getvalue()


def _onnx(program: ExportedProgram, inputs: int, said: dict[str, str]) -> bytes:
    names = ["input"] if inputs == 1 else [f"input{number}" for number in range(inputs)]
    converted = torch.onnx.export(program, input_names=names, dynamo=True, verbose=False)
    assert converted is not None
    model = converted.model_proto
    for name, value in said.items():
        model.metadata_props.add(key=name, value=value)
    content: bytes = model.SerializeToString()
    return content


def _decode(content: bytes, to: str) -> Function:
    """What a file of these bytes computes."""
    if to == "torch":
        return _run(torch.export.load(io.BytesIO(content)).module())
    import onnxruntime  # noqa: PLC0415 - an optional package

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]

    def run(inputs: tuple[Tensor, ...]) -> list[Tensor]:
        feed = {name: x.numpy() for name, x in zip(names, inputs, strict=True)}
        return [torch.as_tensor(output) for output in session.run(None, feed)]

    return run


def _run(model: nn.Module) -> Function:
    """A network as a function from inputs to the list of its outputs."""

    def run(inputs: tuple[Tensor, ...]) -> list[Tensor]:
        with torch.no_grad():
            return [x for x in pytree.tree_leaves(model(*inputs)) if isinstance(x, Tensor)]

    return run


def _draw(model: nn.Module, shapes: Shapes) -> tuple[Tensor, ...]:
    """Random inputs, the same every time."""
    generator = torch.Generator().manual_seed(0)
    dtype = next((p.dtype for p in model.parameters()), torch.float32)
    return tuple(torch.randn(shape, generator=generator).to(dtype) for shape in shapes)


def _trials(shapes: Shapes, varying: str, multiple: int) -> Iterator[Shapes]:
    """Sizes of the inputs at which a file is compared with the network."""
    yield shapes
    if varying == _BATCH:
        yield [(3, *shape[1:]) for shape in shapes]
    elif varying == _SIZES:
        yield [(3, shape[1], 3 * multiple, 2 * multiple) for shape in shapes]


def _compare(model: nn.Module, file: Function, inputs: tuple[Tensor, ...]) -> None:
    """Raise LwdnaError unless a file computes what the network does."""
    expected, found = _run(model)(inputs), file(inputs)
    if [x.shape for x in expected] != [x.shape for x in found]:
        raise LwdnaError("the file would give outputs of other shapes than the network")
    for ours, theirs in zip(expected, found, strict=True):
        scale = float(ours.abs().max()) if ours.numel() else 0.0
        if not torch.isfinite(ours).all():
            raise LwdnaError("the output of the network is not finite; train it first")
        difference = float((ours - theirs).abs().max()) if ours.numel() else 0.0
        if not difference <= TOLERANCE * scale:
            raise LwdnaError(
                f"the output of the file would differ from that of the network by {difference:.1e},"
                f" where the largest output is {scale:.1e}"
            )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Nothing that exporters have to say, unless they fail."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
