"""Parameters of the MobileNetV1 of Table 3 after shrinkage, ours beside the paper's.

Random images and labels stand in for Tiny-ImageNet: they serve for complexity, and only for that.
About half a minute and 1.8 GiB on one CPU core, at initialisation and, a little longer, with
``--warmup-steps 1``.
"""

from __future__ import annotations

import resource
import time
from pathlib import Path

import click
import torch
from torch import Tensor, nn

import lwdna
from lwdna.results.printed import read_paper

PAPER = Path(__file__).parents[1] / "paper/table3.csv"


def random_loss(network: nn.Module) -> Tensor:
    """Cross-entropy of a batch of 64 random images of Tiny-ImageNet's size."""
    images, labels = torch.randn(64, 3, 64, 64), torch.randint(200, (64,))
    return nn.functional.cross_entropy(network(images), labels)


@click.command()
@click.option("--warmup-steps", type=int, default=0, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
def main(warmup_steps: int, seed: int) -> None:
    """Shrink MobileNetV1, widened by 2, with the four settings of rho and tau."""
    click.echo("rho,tau,target_flops,flops,paper_params_m,params_m,difference_percent")
    start = time.perf_counter()
    for row in read_paper(PAPER).to_dict("records"):
        torch.manual_seed(seed)
        target, paper = float(row["flops_g"]) * 1e9, float(row["params_m"])
        shrunk = lwdna.shrink(
            lwdna.build("MobileNetV1", dataset="tiny-imagenet", width=2),
            torch.empty(1, 3, 64, 64),
            random_loss,
            target_flops=target,
            rho=float(row["rho"]),
            tau=float(row["tau"]),
            warmup_steps=warmup_steps,
            seed=seed,
        )
        ours = shrunk.params / 1e6
        click.echo(
            f"{row['rho']},{row['tau']},{target:.0f},{shrunk.flops},{paper:.3f},{ours:.3f},"
            f"{100 * (ours / paper - 1):+.1f}"
        )
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    click.echo(f"# {time.perf_counter() - start:.0f} s, at most {memory:.2f} GiB", err=True)


if __name__ == "__main__":
    main()
