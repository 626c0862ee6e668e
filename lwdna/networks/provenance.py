"""Where a network comes from: enough to build it again, and what is left of each layer."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from os import PathLike
from typing import Any, cast

from torch import nn

from lwdna.io.atomic import write_text


@dataclass(frozen=True)
class NetworkSpec:
    """The arguments of ``lwdna.build`` that made a network."""

    name: str
    dataset: str | None
    width: float
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Shrinkage:
    """What shrinkage did to a network as a whole, and how."""

    channels_before: dict[str, int]
    """By layer the number of output channels of the widened network."""
    flops_before: int
    flops_after: int
    params_before: int
    params_after: int
    inputs: list[list[int]]
    """The shape of each input at which the FLOPs were counted."""
    settings: dict[str, Any] = field(default_factory=dict)
    """``target_flops``, ``rho``, ``tau`` and the other arguments of ``lwdna.shrink``."""
    baseline: dict[str, int] | None = None
    """"flops" and "params" of the network before it was widened, where that is known."""

    @classmethod
    def read(cls, values: dict[str, Any]) -> Shrinkage:
        """Read what ``asdict`` wrote.

        Raises:
            AttributeError, KeyError, TypeError, ValueError: if it is anything else.
        """
        counts = ("flops_before", "flops_after", "params_before", "params_after")
        baseline = values.get("baseline")
        if baseline is not None:
            baseline = {name: int(baseline[name]) for name in ("flops", "params")}
        return cls(
            baseline=baseline,
            channels_before={str(k): int(n) for k, n in values["channels_before"].items()},
            inputs=[[int(size) for size in shape] for shape in values["inputs"]],
            settings=dict(values["settings"]),
            **{name: int(values[name]) for name in counts},
        )


@dataclass(frozen=True)
class Widening:
    """A widening by the channel graph: the arguments of ``lwdna.widen``."""

    factor: float
    inputs: list[list[int]]
    """The shape of each input of the example."""
    groups: str = "whole"


@dataclass(frozen=True)
class Trained:
    """What the weights of a network were trained for: all that it takes to apply it."""

    task: dict[str, Any]
    """The section ``task`` of an experiment: its ``kind``, and such as sigma, scale, mean, std."""
    takes: dict[str, Any] = field(default_factory=dict)
    """What goes into the network, see :meth:`lwdna.tasks.task.Task.takes`."""
    classes: list[str] | None = None
    """Names, in the order of its outputs."""
    source: dict[str, Any] = field(default_factory=dict)
    """Where the weights come from, in words."""

    @classmethod
    def read(cls, values: dict[str, Any]) -> Trained:
        """Read what ``asdict`` wrote.

        Raises:
            AttributeError, KeyError, TypeError, ValueError: if it is anything else.
        """
        task, takes, source = (dict(values[name]) for name in ("task", "takes", "source"))
        if not isinstance(task["kind"], str):
            raise ValueError("it names no task")
        classes = values["classes"]
        return cls(task, takes, None if classes is None else [str(c) for c in classes], source)


@dataclass(frozen=True)
class Provenance:
    """How a network was made: from ``spec``, ``widened``, then cut to the channels ``kept``.

    ``spec`` is None for a module that ``lwdna.build`` did not make; ``kept`` is None for a
    network that was not shrunk, else it maps each layer to the indices of its output channels
    in the widened network that were kept. ``arguments`` are those with which the command line
    called a user's function. ``widened`` are the widenings of what ``spec`` or that function made,
    one after the other. ``numbers`` are the integers that its modules keep, by name, as far as they
    are numbers of channels. ``trained`` is None where nobody said what its weights are for.
    """

    spec: NetworkSpec | None = None
    kept: dict[str, list[int]] | None = None
    shrinkage: Shrinkage | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    widened: tuple[Widening, ...] = ()
    numbers: dict[str, int] = field(default_factory=dict)
    trained: Trained | None = None

    def wider(self, widening: Widening) -> Provenance:
        """The provenance after a widening, which draws new weights; of a shrunk network nothing
        else is known."""
        if self.kept is not None:
            return Provenance(widened=(widening,))
        return replace(self, widened=(*self.widened, widening), trained=None)

    def shrunk(
        self, kept: dict[str, list[int]], shrinkage: Shrinkage, numbers: dict[str, int]
    ) -> Provenance:
        """The provenance after shrinkage, which draws new weights unless its caller knows better;
        of a network shrunk before, counted from its origin."""
        layers = (
            None if self.kept is None else {name: len(kept) for name, kept in self.kept.items()}
        )
        if layers is not None and layers != shrinkage.channels_before:
            # It was rebuilt since: what it came from says nothing of it any more.
            return Provenance(kept=kept, shrinkage=shrinkage, numbers=numbers)
        if self.kept is not None:
            kept = {
                layer: [self.kept[layer][i] for i in indices] for layer, indices in kept.items()
            }
        if self.shrinkage is not None:
            shrinkage = replace(
                shrinkage,
                channels_before=self.shrinkage.channels_before,
                flops_before=self.shrinkage.flops_before,
                params_before=self.shrinkage.params_before,
                baseline=self.shrinkage.baseline,
            )
        numbers = {**self.numbers, **numbers}
        return replace(self, kept=kept, shrinkage=shrinkage, numbers=numbers, trained=None)


def provenance_of(model: nn.Module) -> Provenance:
    """Where a network comes from; nothing is known of a module made elsewhere."""
    return cast(Provenance, getattr(model, "provenance", Provenance()))


def set_provenance(model: nn.Module, provenance: Provenance) -> None:
    """Note on a network where it comes from; a copy of the network keeps the note."""
    model.provenance = provenance  # type: ignore[assignment]


def note_trained(model: nn.Module, trained: Trained | None) -> None:
    """Note on a network what its weights were trained for; None where that is not known."""
    set_provenance(model, replace(provenance_of(model), trained=trained))


def rows(provenance: Provenance) -> list[tuple[str, int, int]]:
    """Name, number before and number after, for each layer, the FLOPs and the parameters.

    The provenance must be that of a shrunk network.
    """
    shrinkage, kept = cast(Shrinkage, provenance.shrinkage), provenance.kept or {}
    return [
        *((name, shrinkage.channels_before[name], len(kept[name])) for name in kept),
        ("FLOPs", shrinkage.flops_before, shrinkage.flops_after),
        ("parameters", shrinkage.params_before, shrinkage.params_after),
    ]


def table(provenance: Provenance) -> str:
    """A shrunk network as a table to print: layer, channels before, after, and in percent."""
    body = [
        (name, f"{before:,}", f"{after:,}", f"{percent(before, after):.1f}")
        for name, before, after in rows(provenance)
    ]
    lines = [("layer", "before", "after", "percent"), *body]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    printed = "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
        for line in lines
    )
    shrinkage = cast(Shrinkage, provenance.shrinkage)
    if shrinkage.baseline is None:
        return printed
    flops, params = shrinkage.baseline["flops"], shrinkage.baseline["params"]
    return (
        f"{printed}\n\n{percent(flops, shrinkage.flops_after):.1f} % of the baseline's "
        f"{flops:,} FLOPs, {percent(params, shrinkage.params_after):.1f} % of its {params:,} "
        "parameters"
    )


def noted_widenings(provenance: Provenance) -> dict[str, Any]:
    """The widenings of a network for a file, as an entry ``widened``; nothing where there is none.

    So the files of networks that were not widened are what they were before there was this.
    """
    return {"widened": [asdict(w) for w in provenance.widened]} if provenance.widened else {}


def percent(before: int, after: int) -> float:
    """The share that is left, in percent to two decimals; of nothing, everything."""
    return round(100 * after / before, 2) if before else 100.0


def write_summary(provenance: Provenance, path: str | PathLike[str]) -> None:
    """Write what became of a shrunk network as JSON, one line a layer.

    Raises:
        LwdnaError: if the file cannot be written.
    """
    *layers, flops, params = rows(provenance)
    shrinkage, kept = cast(Shrinkage, provenance.shrinkage), provenance.kept or {}

    def share(before: int, after: int) -> dict[str, Any]:
        return {"before": before, "after": after, "percent": percent(before, after)}

    def beside(name: str, after: int) -> dict[str, Any]:
        baseline = (shrinkage.baseline or {}).get(name)
        if baseline is None:
            return {}
        return {"baseline": baseline, "percent_of_baseline": percent(baseline, after)}

    sections = {
        "network": provenance.spec and asdict(provenance.spec),
        "arguments": provenance.arguments,
        **noted_widenings(provenance),
        "inputs": shrinkage.inputs,
        "flops": share(*flops[1:]) | beside("flops", flops[2]),
        "params": share(*params[1:]) | beside("params", params[2]),
        "settings": shrinkage.settings,
        **({"trained": asdict(provenance.trained)} if provenance.trained else {}),
    }
    lines = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in sections.items()]
    entries = [
        f"    {json.dumps(name)}: {json.dumps(share(*counts) | {'kept': kept[name]})}"
        for name, *counts in layers
    ]
    lines.append('  "layers": {\n' + ",\n".join(entries) + "\n  }")
    write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")
