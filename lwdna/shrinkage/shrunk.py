"""A shrunk network: cut out by a mask, verified, with a report and a file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

from torch import nn

from lwdna.errors import ConfigError, require_file_name
from lwdna.networks.narrowing import Derivation, derived
from lwdna.networks.provenance import percent, provenance_of, set_provenance, write_summary
from lwdna.networks.weights import save


@dataclass(frozen=True)
class Shrunk:
    """A shrunk network and what became of it."""

    model: nn.Module
    """A plain module, with the weights that its training starts from."""
    flops: int
    params: int
    kept: dict[str, list[int]]
    """By layer the indices of the output channels kept."""
    channels_before: dict[str, int]
    """By layer the number of output channels of the widened network."""
    flops_before: int
    params_before: int
    baseline: tuple[int, int] | None = None
    """FLOPs and parameters of the network before it was widened, where that is known."""
    uncounted: tuple[str, ...] = ()
    """What computes something that the FLOPs leave out."""

    def beside(self, flops: int, params: int) -> Shrunk:
        """The same, with its share of the baseline in all that it reports and writes.

        Args:
            flops: of the network before it was widened, counted in the same way.
            params: of that network.
        """
        origin = provenance_of(self.model)
        if origin.shrinkage is not None:
            shrinkage = replace(origin.shrinkage, baseline={"flops": flops, "params": params})
            set_provenance(self.model, replace(origin, shrinkage=shrinkage))
        return replace(self, baseline=(flops, params))

    def save(self, path: str | PathLike[str]) -> None:
        """Write the network as safetensors, to be read by ``lwdna.load``.

        The numbers of channels go into a JSON beside it: ``small.json`` for ``small.safetensors``.

        Raises:
            ConfigError: if the path names no file that ends in ".safetensors".
            LwdnaError: if a file cannot be written.
        """
        summary = require_file_name(path, "small.safetensors").with_suffix(".json")
        if Path(path).suffix != ".safetensors":
            raise ConfigError(
                f"The weights cannot be written to '{path}', which does not end in .safetensors; "
                "give a name that does: their JSON goes beside them."
            )
        save(self.model, path)
        write_summary(provenance_of(self.model), summary)

    def report(self) -> str:
        """Complexity before and after, and the channels kept by layer."""
        lines = []
        for title, before, after, baseline in (
            ("FLOPs", self.flops_before, self.flops, self.baseline and self.baseline[0]),
            ("params", self.params_before, self.params, self.baseline and self.baseline[1]),
        ):
            shares = f"{percent(before, after):.2f} %"
            if baseline:
                shares += f"; {percent(baseline, after):.2f} % of the baseline's {baseline:,}"
            lines.append(f"{title:<6} {before:>15,} -> {after:>15,} ({shares})")
        width = max(map(len, self.kept))
        for name, kept in self.kept.items():
            before = self.channels_before[name]
            share = 100 * len(kept) / before
            lines.append(f"{name:<{width}} {before:>6} -> {len(kept):>6} ({share:.1f} %)")
        lines += [f"not counted: {what}" for what in self.uncounted]
        return "\n".join(lines)


def derive(source: Derivation) -> Shrunk:
    """The plain network that a mask leaves of the widened one, checked against the prediction.

    Raises:
        GraphError: if the network is not what the channel graph predicts.
    """
    done = source.shrinkage
    return Shrunk(
        model=derived(source),
        flops=done.flops_after,
        params=done.params_after,
        kept=source.kept,
        channels_before=done.channels_before,
        flops_before=done.flops_before,
        params_before=done.params_before,
        uncounted=tuple(source.graph.uncounted),
    )
