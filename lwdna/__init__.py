"""lwdna: find layer-wise differentiated network architectures (LW-DNA, CVPR 2021).

The wings, from the ground up; each imports those below it (``docs/architecture.md``):

``io``         files written whole or not at all, locks, tensors without pickle
``data``       images, stores, downloads, and PyTorch data sets of them
``graph``      the channels of a network: traced, coupled, counted, and cut
``tasks``      classification, super-resolution, denoising: losses and metrics
``networks``   the networks of the paper, one file a family; weights and their provenance
``training``   one step, the loop, and what it takes to go on after an interruption
``shrinkage``  latent vectors, their gradients, and a FLOPs budget met exactly
``config``     the configuration and the methods that tables compare
``tracking``   DiMP: an object followed through a video, by any backbone
``prediction`` what a trained network makes of pictures
``rivals``     the systems that LW-DNA is compared with
``results``    tables and figures beside the paper's numbers
``workflow``   what Snakemake is asked, and what a run will take
``steps``      one thin command a step

The public names are loaded on first use, so that the command line starts without PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lwdna.lazy import names_of

if TYPE_CHECKING:
    from lwdna import tracking
    from lwdna.graph.channels import ChannelGraph
    from lwdna.graph.complexity import complexity
    from lwdna.graph.rules import Rule, register_rule
    from lwdna.networks.build import build
    from lwdna.networks.export import export
    from lwdna.networks.narrowing import narrow
    from lwdna.networks.weights import load, save
    from lwdna.networks.widening import widen
    from lwdna.networks.zoo import channels_of
    from lwdna.prediction.predictor import Predictor
    from lwdna.shrinkage.prune import prune
    from lwdna.shrinkage.shrink import shrink

__version__ = "0.1.0"
__all__ = [
    "ChannelGraph",
    "Predictor",
    "Rule",
    "build",
    "channels_of",
    "complexity",
    "export",
    "load",
    "narrow",
    "prune",
    "register_rule",
    "save",
    "shrink",
    "tracking",
    "widen",
]

_HOME = {
    "ChannelGraph": "lwdna.graph.channels",
    "Predictor": "lwdna.prediction.predictor",
    "Rule": "lwdna.graph.rules",
    "build": "lwdna.networks.build",
    "channels_of": "lwdna.networks.zoo",
    "complexity": "lwdna.graph.complexity",
    "export": "lwdna.networks.export",
    "load": "lwdna.networks.weights",
    "narrow": "lwdna.networks.narrowing",
    "prune": "lwdna.shrinkage.prune",
    "register_rule": "lwdna.graph.rules",
    "save": "lwdna.networks.weights",
    "shrink": "lwdna.shrinkage.shrink",
    "tracking": "lwdna.tracking",
    "widen": "lwdna.networks.widening",
}

__getattr__ = names_of(__name__, _HOME)
