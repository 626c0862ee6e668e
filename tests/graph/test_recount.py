"""FLOPs of what really runs, beside an independent count: PyTorch's own."""

import os

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

import lwdna
from lwdna.errors import GraphError, LwdnaError
from lwdna.graph.channels import ChannelGraph
from lwdna.graph.complexity import COUNTED_ACTIVATIONS, MaskedComplexity, complexity, count
from lwdna.graph.recount import Recount
from lwdna.networks.build import build
from lwdna.networks.registry import NETWORKS, input_shape

ALL = os.environ.get("LWDNA_TEST_ALL") == "1"
OURS = (
    "ResNet20 DenseNet40 EfficientNet MnasNet MobileNetV1 MobileNetV2 MobileNetV3-small "
    "RegNetX-200MF RegNetY-200MF DnCNN U-Net EDSR SRResNet"
).split()
THEIRS = "googlenet lraspp_mobilenet_v3_large resnext50_32x4d shufflenet_v2_x0_5".split()
"""Of every family, and of torchvision those that no other is like."""


def by_pytorch(model, *inputs):
    """Multiply-accumulates of all that runs, of a transposed convolution at its output size."""
    more = []

    def note(module, given, output):
        places = output[0, 0].numel() - given[0][0, 0].numel()
        more.append(module.weight.numel() * places * len(output))

    kinds = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    hooks = [m.register_forward_hook(note) for m in model.modules() if isinstance(m, kinds)]
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(*inputs)
    for hook in hooks:
        hook.remove()
    return counter.get_total_flops() // 2 + sum(more)


def layers_only(model):
    """The network with activations that the convention does not count."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, COUNTED_ACTIVATIONS):
                setattr(module, name, nn.SiLU())
    return model


def compare(model, *inputs):
    """Our count and PyTorch's are one, by running the network and by its graph."""
    model = layers_only(model)
    truth = by_pytorch(model, *inputs)
    images = inputs[0].shape[0]
    assert truth % images == 0
    direct = complexity(model, inputs, batch_norm=False)
    assert direct[0] == truth // images
    graph = ChannelGraph(model, inputs)
    counted = MaskedComplexity(graph, batch_norm=False)
    full = graph.full_mask()
    assert (counted.flops(full), counted.params(full)) == direct


@pytest.mark.parametrize("name", NETWORKS if ALL else OURS)
def test_networks_of_the_paper(name):
    with torch.device("meta"):
        model, x = build(name), torch.empty(input_shape(name))
    compare(model.to("meta"), x)


def names():
    models = torchvision.models.list_models(torchvision.models)
    models += torchvision.models.list_models(torchvision.models.segmentation)
    return [name for name in models if not name.startswith(("vit", "swin", "maxvit"))]


@pytest.mark.parametrize("name", names() if ALL else THEIRS)
def test_networks_of_torchvision(name):
    segments = name in torchvision.models.list_models(torchvision.models.segmentation)
    options = {"weights_backbone": None} if segments else {}
    if name in {"googlenet", "inception_v3"}:
        options["init_weights"] = False
    model = torchvision.models.get_model(name, weights=None, **options).to("meta")
    size = 299 if name == "inception_v3" else 64
    compare(model, torch.empty(2, 3, size, size, device="meta"))


class Siamese(nn.Module):
    """Both images of a pair go through one body, along axis 0."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 16, 3))
        self.head = nn.Conv2d(32, 4, 1)

    def forward(self, x, y):
        first, second = self.body(torch.cat([x, y])).chunk(2)
        return self.head(torch.cat([first, second], 1))


class Clip(nn.Module):
    """Frames go through one body along axis 0; a head reads their mean."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 12, 3))
        self.head = nn.Linear(12, 5)

    def forward(self, x):
        y = self.body(x.flatten(0, 1)).mean((2, 3))
        return self.head(y.view(*x.shape[:2], -1).mean(1))


class Crops(nn.Module):
    """Four quarters of an image, stacked."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 12, 3, padding=1), nn.Conv2d(12, 5, 1)

    def forward(self, x):
        h, w = x.shape[2] // 2, x.shape[3] // 2
        parts = [x[..., :h, :w], x[..., h:, :w], x[..., :h, w:], x[..., h:, w:]]
        y = self.b(functional.relu(self.a(torch.cat(parts))))
        return sum(y.chunk(4))


class Places(nn.Module):
    """A linear layer over positions, which it is given along axis 0."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 12, 3), nn.Linear(12, 8), nn.Linear(8, 4)

    def forward(self, x):
        y = self.a(x).flatten(2).permute(2, 0, 1)
        return self.c(functional.relu(self.b(y))).mean(0)


class Squeezed(nn.Module):
    """Without a batch axis at batch 1."""

    def __init__(self):
        super().__init__()
        self.a, self.pool, self.fc = nn.Conv2d(3, 16, 3), nn.AdaptiveAvgPool2d(1), nn.Linear(16, 6)

    def forward(self, x):
        return self.fc(self.pool(self.a(x)).squeeze())


class Flat(nn.Module):
    """Without a batch axis: all is flattened."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.norm = nn.ReLU()
        self.one, self.two = nn.Linear(8 * 36, 16), nn.Linear(16, 4)

    def forward(self, x):
        return self.two(self.norm(self.one(torch.flatten(functional.relu(self.conv(x))))))


def image(images=1):
    return torch.zeros(images, 3, 8, 8)


STACKED = {
    "pairs": (Siamese, (image(), image())),
    "pairs, three at a time": (Siamese, (image(3), image(3))),
    "frames": (Clip, (torch.zeros(1, 5, 3, 8, 8),)),
    "frames of two clips": (Clip, (torch.zeros(2, 5, 3, 8, 8),)),
    "crops": (Crops, (image(2),)),
    "positions along axis 0": (Places, (image(),)),
    "positions along axis 0, two images": (Places, (image(2),)),
    "squeezed": (Squeezed, (image(),)),
    "squeezed, two images": (Squeezed, (image(2),)),
    "flattened": (Flat, (image(),)),
}


@pytest.mark.parametrize("case", STACKED)
def test_all_of_axis_0_is_counted(case):
    make, inputs = STACKED[case]
    compare(make(), *inputs)


@pytest.mark.parametrize("case", STACKED)
@pytest.mark.parametrize("share", [0.4, 0.7])
def test_the_budget_holds_for_what_runs(case, share):
    make, inputs = STACKED[case]
    model, images = make(), inputs[0].shape[0]
    target = share * complexity(model, inputs)[0]
    small = lwdna.shrink(
        model, inputs, None, target_flops=target, rho=0.0, tau=0.0, criterion="magnitude"
    )
    assert small.flops == complexity(small.model, inputs)[0] <= target
    assert by_pytorch(small.model, *inputs) <= small.flops * images
    compare(small.model, *inputs)


def test_an_image_costs_the_same_in_any_batch():
    one, three = (complexity(Siamese(), (image(n), image(n))) for n in (1, 3))
    assert one == three


def test_what_runs_once_for_a_batch_is_shared():
    """Rounded up, so that no budget is exceeded by a part of a FLOP."""

    class Prior(nn.Module):
        def __init__(self):
            super().__init__()
            self.z, self.a, self.b = (
                nn.Parameter(torch.zeros(1, 5)),
                nn.Linear(5, 3),
                nn.Linear(3, 2),
            )

        def forward(self, x):
            return self.b(x + self.a(self.z))

    model = Prior()
    assert complexity(model, torch.zeros(1, 3))[0] == 15 + 6
    assert complexity(model, torch.zeros(4, 3))[0] == 4 + 6  # 15 / 4, rounded up


def test_inputs_that_disagree_are_one_example():
    class Episode(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Conv2d(3, 4, 1)

        def forward(self, support, query):
            return self.a(support).mean((0, 2, 3)), self.a(query)

    model = Episode()
    assert complexity(model, (image(5), image(2)))[0] == 7 * 64 * 12
    assert complexity(model, (image(5), image(1)))[0] == 6 * 64 * 12 // 5 + 1


class Stride(nn.Module):
    """A layer with a rule, of which a convolution takes every second position."""

    def __init__(self, n=6):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n, 3, 3, 3))

    def forward(self, x):
        return functional.conv2d(x, self.weight, stride=2)


@pytest.mark.parametrize(
    "flops", [None, lambda layer, inputs, output: {"weight": output[0, 0].numel()}]
)
def test_a_layer_of_a_user_in_pairs(monkeypatch, flops):
    monkeypatch.setattr("lwdna.graph.rules._RULES", {})
    lwdna.register_rule(Stride, lwdna.Rule({"weight": "out in"}, flops=flops))

    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = Stride(), nn.Conv2d(6, 4, 1)

        def forward(self, x, y):
            return self.b(self.a(torch.cat([x, y])))

    model, inputs = Pair(), (image(2), image(2))
    assert by_pytorch(model, *inputs) == 2 * complexity(model, inputs)[0]
    graph = ChannelGraph(model, inputs)
    assert MaskedComplexity(graph).flops(graph.full_mask()) == complexity(model, inputs)[0]


def test_a_shrunk_network_is_counted_twice(monkeypatch, tmp_path):
    """Were our count wrong, both by running and by the graph, PyTorch's would tell."""
    monkeypatch.setattr("lwdna.graph.recount.Recount.macs", property(lambda self: 1))
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 2, 1))
    with pytest.raises(GraphError, match="but 1 by PyTorch's own") as caught:
        lwdna.shrink(model, image(), None, target_flops=8000, criterion="magnitude")
    assert isinstance(caught.value, LwdnaError)


def test_attention_beside_layers_is_no_mismatch():
    """What is not counted by the convention is not by the second count either."""

    class Gram(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.fc = nn.Conv2d(3, 8, 3), nn.Linear(8, 4)

        def forward(self, x):
            y = self.a(x).flatten(2)
            return self.fc((y @ y.transpose(1, 2)).mean(1))

    recount = Recount()
    assert count(Gram(), image(2), recount=recount).layers == recount.macs
