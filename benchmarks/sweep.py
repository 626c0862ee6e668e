"""How many networks of other collections are shrunk, and whether each comes out right.

``python benchmarks/sweep.py timm`` (also ``segmentation``, ``torchvision``) shrinks networks that
nobody wrote for this package to a share of their FLOPs. Each runs in a process of its own, in
double precision, with weights and statistics as of a trained network and random scores, and is
checked:

- counts: FLOPs and parameters are the predicted ones, and PyTorch's ``FlopCounterMode`` counts the
  same convolutions and linear layers;
- equality: its output is that of the whole network in which nothing reads the dropped channels;
- a file: saved, loaded again into the whole network's code, it computes the same;
- a gradient reaches its parameters.

Needs ``pip install timm segmentation-models-pytorch``; the package does not. The lists were written
down before anything of them was run: of each family of timm's convolutional networks small ones of
different make, every decoder of the other collection that takes convolutional encoders.
"""

from __future__ import annotations

import csv
import logging
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
import torchvision
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

import lwdna
from lwdna.errors import LwdnaError
from lwdna.graph.channels import ChannelGraph
from lwdna.graph.complexity import MaskedComplexity, complexity
from lwdna.graph.surgery import silence
from lwdna.shrinkage.budget import Budget, floors, select
from lwdna.shrinkage.shrunk import derive

TIMM = """
bat_resnext26ts eca_resnext26ts gcresnext26ts gernet_s mobileone_s0 mobileone_s1 repvgg_a0
resnet32ts seresnet33ts convmixer_768_32 convnext_atto convnext_atto_ols convnextv2_atto
cs3darknet_focus_s cs3darknet_m cspdarknet53 cspresnet50 cspresnext50 cspnext_tiny densenet121
densenetblur121d dla34 dla46_c dla46x_c dla60_res2net dpn48b dpn68 eca_vovnet39b
ese_vovnet19b_slim ese_vovnet19b_dw ecaresnet26t resnet10t resnet14t resnet18 resnet18d resnet26t
resnetblur18 resnetaa50 resnetrs50 resnext26ts resnext50_32x4d seresnext26d_32x4d skresnet18
skresnext50_32x4d efficientnet_b0 efficientnet_b0_gn efficientnet_b0_g8_gn efficientnet_es
efficientnet_lite0 efficientnetv2_rw_t tf_efficientnet_b0 tf_efficientnetv2_b0 mixnet_s
tf_mixnet_s mnasnet_050 mobilenetv1_100 mobilenetv2_035 mobilenetv4_conv_small spnasnet_100
fbnetc_100 tinynet_e mobilenet_edgetpu_100 fasternet_t0 fbnetv3_b lcnet_050 mobilenetv3_small_050
tf_mobilenetv3_small_075 ghostnet_050 ghostnetv2_100 ghostnetv3_050 hardcorenas_a hgnet_tiny
hgnetv2_b0 hrnet_w18_small inception_next_atto inception_v3 inception_v4 inception_resnet_v2
lcnetv2_small legacy_seresnet18 legacy_xception mambaout_femto rdnet_tiny regnetx_002 regnety_002
regnetz_005 regnetv_040 repghostnet_050 repvit_m0_9 res2net50_14w_8s res2next50 resnest14d
resnest26d resnetv2_18 resnetv2_50 rexnet_100 selecsls42 starnet_s050 tresnet_m vgg11_bn
xception41 xception41p nf_regnet_b0 nf_resnet26 dm_nfnet_f0 eca_nfnet_l0
""".split()
NOT_OFFERED = {f"{decoder}/densenet121" for decoder in ("DeepLabV3", "DeepLabV3Plus", "PAN")}
"""That encoder has no dilated form."""
DECODERS = "Unet UnetPlusPlus MAnet Linknet FPN PSPNet DeepLabV3 DeepLabV3Plus PAN UPerNet".split()
ENCODERS = ("resnet18", "mobilenet_v2", "efficientnet-b0", "densenet121")
SIZE = dict.fromkeys(("inception_v3", "inception_v4", "inception_resnet_v2"), 299)
SIZE["bat_resnext26ts"] = 256


def timm_network(name: str) -> nn.Module:
    """A network of timm without weights."""
    return import_module("timm").create_model(name, pretrained=False)


def segmentation_network(name: str) -> nn.Module:
    """``DECODER/ENCODER`` of segmentation_models_pytorch without weights."""
    collection = import_module("segmentation_models_pytorch")
    decoder, encoder = name.split("/")
    return getattr(collection, decoder)(encoder, encoder_weights=None, classes=5)


def torchvision_network(name: str) -> nn.Module:
    """A network of torchvision without weights."""
    options = {"init_weights": False} if name in {"googlenet", "inception_v3"} else {}
    return torchvision.models.get_model(name, weights=None, **options)


def torchvision_names() -> list[str]:
    """Those without attention."""
    names = torchvision.models.list_models(torchvision.models)
    return [n for n in names if not any(t in n for t in ("vit_", "swin_", "maxvit"))]


COLLECTIONS: dict[str, tuple[Callable[[str], nn.Module], Callable[[], list[str]]]] = {
    "timm": (timm_network, lambda: TIMM),
    "segmentation": (
        segmentation_network,
        lambda: [
            name
            for name in (f"{decoder}/{encoder}" for decoder in DECODERS for encoder in ENCODERS)
            if name not in NOT_OFFERED
        ],
    ),
    "torchvision": (torchvision_network, torchvision_names),
}


@dataclass
class Row:
    """What became of a network; ``outcome`` is "ok", or what went wrong."""

    collection: str
    network: str
    outcome: str = ""
    flops: float = 0.0
    """Share that is left."""
    params: float = 0.0
    difference: float = 0.0
    """Largest difference of the outputs, relative to the largest output."""
    free: float = 0.0
    """Share of the channels that may go."""
    graph_seconds: float = 0.0
    seconds: float = 0.0
    message: str = ""


def initialise(model: nn.Module) -> None:
    """Weights that let signals through, statistics of a trained network."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        for name, tensor in own:
            if not tensor.is_floating_point():
                continue
            if tensor.ndim > 1 and isinstance(tensor, nn.Parameter):
                bound = (3 / tensor[0].numel()) ** 0.5
                tensor.data.uniform_(-bound, bound, generator=generator)
            elif isinstance(tensor, nn.Parameter) or "running" in name:
                low, high = (0.5, 1.5) if name in {"weight", "running_var"} else (-0.1, 0.1)
                tensor.data.uniform_(low, high, generator=generator)


def outputs(found: Any) -> list[Tensor]:
    """The tensors of an output."""
    if isinstance(found, Tensor):
        return [found]
    values = found.values() if isinstance(found, dict) else found
    return [tensor for value in values for tensor in outputs(value)]


def difference(found: Any, expected: Any) -> float:
    """Largest difference relative to the largest value."""
    pairs = zip(outputs(found), outputs(expected), strict=True)
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


def counted_by_torch(model: nn.Module, x: Tensor) -> int:
    """Multiply-accumulates of convolutions and matrix products, by PyTorch's own counter."""
    with FlopCounterMode(display=False) as counter:
        model(x)
    return counter.get_total_flops() // 2


def shrink_and_check(make: Callable[[], nn.Module], size: int, share: float, row: Row) -> None:
    """Shrink a network and fill in its row."""
    model = make().eval().double()
    initialise(model)
    x = torch.randn(2, 3, size, size, dtype=torch.float64)
    began = time.perf_counter()
    graph = ChannelGraph(model, x)
    row.graph_seconds = time.perf_counter() - began
    counted = MaskedComplexity(graph)
    whole = complexity(model, x)
    free = sum(int((~channels.frozen).sum()) for channels in graph.sets if channels.prunable)
    row.free = free / max(1, graph.elements)
    scores = np.random.default_rng(0).random(graph.elements)
    mask = select(graph, counted, scores, Budget(share * whole[0], floors(graph.sets, 0.0, 0.0)))
    shrunk = derive(
        graph, model, mask, x, counted, like=model, settings={"batch_norm": True, "seed": 0}
    )
    small = shrunk.model
    flops, params = complexity(small, x)
    row.flops, row.params = flops / whole[0], params / whole[1]
    with torch.no_grad():
        ours = small(x)
        row.difference = difference(ours, silence(graph, model, mask)(x))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "small.safetensors"
            shrunk.save(path)
            again = lwdna.load(path, network=lambda: make().double()).eval()
        file = difference(again(x), ours)
        shares = [
            counted_by_torch(net, x[:1]) / net_flops
            for net, net_flops in ((model, whole[0]), (small, flops))
        ]
    small.train()
    sum(tensor.square().mean() for tensor in outputs(small(x))).backward()
    reached = any(p.grad is not None and p.grad.abs().sum() > 0 for p in small.parameters())
    row.seconds = time.perf_counter() - began
    wrong = []
    if flops > share * whole[0]:
        wrong.append("above the target")
    if not row.difference < 1e-8:
        wrong.append("not the silenced network")
    if not file < 1e-9:
        wrong.append("not what was saved")
    if not reached:
        wrong.append("no gradient")
    row.outcome = "; ".join(wrong) or "ok"
    row.message = "torch/ours {:.4f} {:.4f}".format(*shares)


def work(collection: str, name: str, share: float, end: Connection) -> None:
    """In a process of its own."""
    row = Row(collection, name)
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    make = COLLECTIONS[collection][0]
    try:
        shrink_and_check(lambda: make(name), SIZE.get(name, 128), share, row)
    except LwdnaError as error:
        row.outcome, row.message = "refused", str(error)
    except Exception as error:
        row.outcome = "failed"
        row.message = f"{type(error).__name__}: {error} {traceback.format_exc()[-600:]}"
    end.send(row)


def try_one(collection: str, name: str, share: float, minutes: float) -> Row:
    """The row of a network; a process that takes too long, or dies, has one too."""
    context = get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(collection, name, share, theirs))
    process.start()
    theirs.close()
    try:
        if ours.poll(60 * minutes):
            return ours.recv()  # type: ignore[no-any-return]
        return Row(collection, name, "timeout", message=f"more than {minutes:g} minutes")
    except EOFError:
        return Row(collection, name, "died")
    finally:
        process.kill()
        process.join()


@click.command()
@click.argument("collections", nargs=-1, required=True, type=click.Choice([*COLLECTIONS]))
@click.option("--share", type=float, default=0.6, show_default=True, help="Of the FLOPs.")
@click.option("--only", multiple=True, help="Networks; all if not given.")
@click.option("--minutes", type=float, default=4.0, show_default=True, help="For one network.")
@click.option("--output", type=click.Path(path_type=Path), help="CSV that rows are appended to.")
def main(
    *,
    collections: tuple[str, ...],
    share: float,
    only: tuple[str, ...],
    minutes: float,
    output: Path | None,
) -> None:
    """Shrink every network of the collections, print a row each and how many came out right."""
    names = [field.name for field in fields(Row)]
    done: set[tuple[str, str]] = set()
    rows: list[dict[str, Any]] = []
    if output is not None and output.exists():
        with output.open(newline="") as file:
            rows = list(csv.DictReader(file))
        done = {(row["collection"], row["network"]) for row in rows}
    todo = [(c, n) for c in collections for n in only or COLLECTIONS[c][1]() if (c, n) not in done]
    target = output.open("a", newline="") if output is not None else sys.stdout
    writer = csv.DictWriter(target, names, lineterminator="\n")
    if not rows:
        writer.writeheader()
    for collection, name in tqdm(todo, "networks", disable=None):
        row = asdict(try_one(collection, name, share, minutes))
        row |= {k: f"{v:.4g}" for k, v in row.items() if isinstance(v, float)}
        row["message"] = " ".join(row["message"].split())
        rows.append(row)
        writer.writerow(row)
        target.flush()
    good = sum(row["outcome"] == "ok" for row in rows)
    click.echo(f"{good} of {len(rows)} ok", err=True)


if __name__ == "__main__":
    main()
