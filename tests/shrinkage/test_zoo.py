"""Networks that nobody wrote for this package: torchvision's, and the building blocks of others."""

import os
import re
import time

import numpy as np
import pytest
import torch
import torchvision
from small import Net
from torch import nn
from torch.nn import functional

import lwdna
from lwdna.errors import BudgetError
from lwdna.graph.channels import ChannelGraph
from lwdna.graph.complexity import MaskedComplexity, complexity
from lwdna.graph.surgery import cut, silence, verify
from lwdna.networks.narrowing import Derivation
from lwdna.shrinkage.budget import Budget, floors, select
from lwdna.shrinkage.shrunk import derive

SHARE = 0.5
"""Of the FLOPs of the whole network, what is left."""
X = torch.randn(2, 3, 8, 8)


def conv(inputs, outputs, kernel=3, **options):
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, **options)


# -- building blocks -------------------------------------------------------------------------------


def between(middle, elements, read=12):
    """Something between two convolutions: a layer or a function, of 12 channels."""
    modules = {"a": conv(3, 12), "middle": middle, "b": conv(read, 2)}
    return lambda self, x: self.b(self.middle(self.a(x))), modules, {"a": elements}


def shuffle_by_hand(x):
    b, c, h, w = x.size()
    return x.view(b, 2, c // 2, h, w).transpose(1, 2).contiguous().view(b, -1, h, w)


def selective_kernels(self, x):
    x = self.a(x)
    both = torch.stack([self.b(x), self.c(x)], 1)
    weights = self.fc(both.sum(1).mean((2, 3), keepdim=True)).unflatten(1, (2, -1))
    return self.d((both * weights.softmax(1)).sum(1))


def three_of_a_kind(self, x):
    a, b, c = torch.split(self.a(x), self.a(x).shape[1] // 3, 1)
    return self.b(a * b + c)


def same_padding(self, x):
    """Control flow on shapes, as in networks that were converted from TensorFlow."""
    h, w = x.shape[-2:]
    pad = [max((-(-int(s) // 2) - 1) * 2 + 3 - int(s), 0) for s in (w, h)]
    if pad[0] > 0 or pad[1] > 0:
        x = functional.pad(x, [0, pad[0], 0, pad[1]])
    return self.b(functional.relu(self.a(x)))


def channels_last(self, x):
    x = self.a(x).permute(0, 2, 3, 1)
    x = x + self.gamma * self.up(functional.gelu(self.norm(self.down(x))))
    return self.b(x.permute(0, 3, 1, 2))


def channel_attention(self, x):
    x = self.a(x)
    pooled = functional.adaptive_avg_pool2d(x, 1).view(x.size(0), -1)
    gate = torch.sigmoid(self.up(functional.relu(self.down(pooled))))
    return self.b(x * gate.view(x.size(0), -1, 1, 1).expand_as(x))


def spatial_attention(self, x):
    x = self.a(x)
    gate = torch.cat([x.mean(1, keepdim=True), x.max(1, keepdim=True)[0]], 1)
    return self.b(x * self.c(gate).sigmoid())


def dense(self, x):
    features = [self.a(x)]
    for layer in (self.b, self.c):
        features.append(layer(torch.cat(features, 1)))
    return self.d(torch.cat(features, 1))


def two_heads(self, x):
    x = self.a(x)
    if self.training:
        return self.b(x), self.aux(x.mean((2, 3)))
    return self.b(x)


class NormOverTheLast(nn.LayerNorm):
    def forward(self, x):
        return functional.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)


BLOCKS = {
    "chunk into halves": between(lambda x: torch.cat(x.chunk(2, 1)[::-1], 1), 6),
    "split by a size taken from the shape": (
        three_of_a_kind,
        {"a": conv(3, 12), "b": conv(4, 2)},
        {"a": 4},
    ),
    "gated linear unit": between(lambda x: functional.glu(x, 1), 6, read=6),
    "gated linear unit, module": between(nn.GLU(1), 6, read=6),
    "channel shuffle by hand": between(shuffle_by_hand, 6),
    "channel shuffle": between(lambda x: functional.channel_shuffle(x, 3), 4),
    "channel shuffle, module": between(nn.ChannelShuffle(3), 4),
    "group norm": between(nn.GroupNorm(4, 12), 4),
    "group norm of one group": between(nn.GroupNorm(1, 12), 12),
    "instance norm": between(nn.InstanceNorm2d(12, affine=True), 12),
    "layer norm and linear layers, channels last": (
        channels_last,
        {
            "a": conv(3, 12),
            "down": nn.Linear(12, 6),
            "norm": nn.LayerNorm(6),
            "up": nn.Linear(6, 12),
            "b": conv(12, 2),
            "gamma": nn.Parameter(torch.rand(12)),
        },
        {"a": 12, "down": 6},
    ),
    "layer norm with a forward of its own, channels last": (
        channels_last,
        {
            "a": conv(3, 12),
            "down": nn.Linear(12, 6),
            "norm": NormOverTheLast(6),
            "up": nn.Linear(6, 12),
            "b": conv(12, 2),
            "gamma": nn.Parameter(torch.rand(12)),
        },
        {"a": 12, "down": 6},
    ),
    "layer norm over space": between(nn.LayerNorm([8, 8]), 12),
    "stack, softmax over branches": (
        selective_kernels,
        {
            "a": conv(3, 6),
            "b": conv(6, 8),
            "c": conv(6, 8, 5),
            "fc": conv(8, 16, 1),
            "d": conv(8, 2),
        },
        {"a": 6, "b": 8},
    ),
    "softmax over channels": between(lambda x: x.softmax(1), 1),
    "squeeze and excitation with views": (
        channel_attention,
        {"a": conv(3, 12), "down": nn.Linear(12, 3), "up": nn.Linear(3, 12), "b": conv(12, 2)},
        {"a": 12, "down": 3},
    ),
    "gate of one channel": (
        lambda self, x: self.b(self.a(x) * self.c(self.a(x)).sigmoid()),
        {"a": conv(3, 12), "b": conv(12, 2), "c": conv(12, 1)},
        {"a": 12, "c": 1},
    ),
    "activation on divided channels": (
        lambda self, x: self.b(self.act(self.a(x).view(x.size(0), 2, -1, 8, 8)).flatten(1, 2)),
        {"a": conv(3, 12), "b": conv(12, 2), "act": nn.ReLU()},
        {"a": 6},
    ),
    "spatial attention": (
        spatial_attention,
        {"a": conv(3, 12), "b": conv(12, 2), "c": conv(2, 1)},
        {"a": 1},
    ),
    "dense connections": (
        dense,
        {"a": conv(3, 4), "b": conv(4, 4), "c": conv(8, 4), "d": conv(12, 2)},
        {"a": 4, "b": 4, "c": 4},
    ),
    "control flow on shapes": (
        same_padding,
        {"a": nn.Conv2d(3, 12, 3, 2), "b": conv(12, 2)},
        {"a": 12},
    ),
    "auxiliary head": (
        two_heads,
        {"a": conv(3, 12), "b": conv(12, 2), "aux": nn.Linear(12, 2)},
        {"a": 12},
    ),
    "functional layers": (
        lambda self, x: functional.linear(
            functional.batch_norm(
                functional.conv2d(x, self.a.weight, bias=self.a.bias, padding=1),
                self.norm.running_mean,
                self.norm.running_var,
                weight=self.norm.weight,
                bias=self.norm.bias,
            ).mean((2, 3)),
            self.b.weight,
        ),
        {"a": conv(3, 12), "norm": nn.BatchNorm2d(12), "b": nn.Linear(12, 2, bias=False)},
        {"a": 12},
    ),
    "statistics as buffers": between(torchvision.ops.FrozenBatchNorm2d(12), 12),
    "convolution called twice": (
        lambda self, x: self.b(self.a(functional.relu(self.a(self.stem(x))))),
        {"stem": conv(3, 12), "a": conv(12, 12), "b": conv(12, 2)},
        {"stem": 12},
    ),
    "stochastic depth by hand": (
        lambda self, x: self.b(
            self.a(x) + self.a(x).div(0.8) * (torch.rand((x.shape[0], 1, 1, 1)) + 0.8).floor() * 0
        ),
        {"a": conv(3, 12), "b": conv(12, 2)},
        {"a": 12},
    ),
    "new tensor for noise": between(lambda x: x * x.new_empty((x.size(0), 1, 1, 1)).fill_(2.0), 12),
    "new tensor in the forward": between(lambda x: x + torch.ones(1), 12),
    "padding with three kinds": between(nn.CircularPad2d(1), 12),
    "transposed convolution and interpolation": (
        lambda self, x: self.b(
            torch.cat([self.up(self.a(x)), functional.interpolate(self.a(x), scale_factor=2)], 1)
        ),
        {"a": conv(3, 6), "up": nn.ConvTranspose2d(6, 6, 2, 2), "b": conv(12, 2)},
        {"a": 6, "up": 6},
    ),
}
"""By name: forward, modules, and by channel set the number of its elements."""


def used(case, dtype=torch.float64):
    run, modules, sizes = BLOCKS[case]
    return Net(run, **modules).to(dtype).eval(), sizes


@pytest.mark.parametrize("case", BLOCKS)
def test_block(case, random_mask):
    """The block without some channels computes what it does with nobody reading them."""
    model, sizes = used(case)
    x = X.double()
    graph = ChannelGraph(model, x)
    found = {channels.name: len(channels) for channels in graph.sets}
    assert {name: found[name] for name in sizes} == sizes
    counted = MaskedComplexity(graph)
    assert (counted.flops(graph.full_mask()), counted.params(graph.full_mask())) == (
        complexity(model, x)
    )
    for seed in range(3):
        mask = random_mask(graph, seed, share=0.5)
        small = cut(graph, model, mask)
        graph.check_cut(small, x, mask)
        torch.testing.assert_close(small(x), silence(graph, model, mask)(x))
        assert complexity(small, x) == (counted.flops(mask), counted.params(mask))
        assert sum(p.numel() for p in small.parameters()) == counted.params(mask)
        for output in small.train()(x) if isinstance(small.train()(x), tuple) else ():
            assert output.isfinite().all()


HELD = {
    "split": lambda self, x: self.b(torch.cat(torch.split(self.a(x), 3, 1), 1)),
    "slice": lambda self, x: self.b(self.a(x)[:, :4].repeat(1, 3, 1, 1)),
    "select": lambda self, x: self.b(self.a(x).select(1, 0).unsqueeze(1).repeat(1, 12, 1, 1)),
    "view with every size": lambda self, x: self.b(
        self.a(x).view(x.size(0), 2, 6, 8, 8).flatten(1, 2)
    ),
    "flatten with a number": lambda self, x: self.b(self.a(x).view(-1, 12, 8, 8)),
    "uneven chunks": lambda self, x: self.b(torch.cat(self.a(x).chunk(5, 1), 1)),
    "channels taken for space": lambda self, x: self.b(
        self.a(x).view(x.size(0), 8, -1, 8).transpose(1, 2)
    ),
}


@pytest.mark.parametrize("case", HELD)
def test_numbers_in_the_code_keep_channels(case, random_mask):
    """A number written in a network's code still means the same channels afterwards."""
    modules = {"a": nn.Sequential(conv(3, 6), conv(6, 12)), "b": conv(12, 2)}
    model = Net(HELD[case], **modules).double().eval()
    graph = ChannelGraph(model, X.double())
    held = next(channels for channels in graph.sets if channels.name == "a.1")
    assert held.frozen.all()
    assert "test_zoo.py" in held.holds[0]
    assert held.holds[0] in graph.explain()
    mask = random_mask(graph)
    small = cut(graph, model, mask)
    graph.check_cut(small, X.double(), mask)
    torch.testing.assert_close(small(X.double()), silence(graph, model, mask)(X.double()))


def test_mixed_up_channels_are_noticed(monkeypatch):
    """The last defence: had the graph a rule wrong, the shrunk network would be refused."""
    monkeypatch.setattr("lwdna.graph.labels.Labels.tie", lambda *_: None)
    model, _ = used("channel shuffle by hand", torch.float32)
    graph = ChannelGraph(model, X)
    mask = graph.full_mask()
    mask[graph.sets[1].elements[[0, 7]]] = False  # one of each half, at different places
    with pytest.raises(lwdna.errors.GraphError, match="'b'"):
        graph.check_cut(cut(graph, model, mask), X, mask)


# -- torchvision -----------------------------------------------------------------------------------


def is_transformer(model):
    """The rule by which networks are left out: one of their modules is an attention."""
    return any("Attention" in type(module).__name__ for module in model.modules())


def make(name):
    """A network of torchvision without weights; quickly, whatever its own initialisation."""
    options = {"init_weights": False} if name in {"googlenet", "inception_v3"} else {}
    if name in torchvision.models.list_models(torchvision.models.segmentation):
        options["weights_backbone"] = None
    try:
        with torch.device("meta"):
            return torchvision.models.get_model(name, weights=None, **options)
    except NotImplementedError:  # RegNets work out their widths with tensors
        return torchvision.models.get_model(name, weights=None, **options)


def networks(*, transformers):
    """Names of classification and segmentation networks of torchvision."""
    names = torchvision.models.list_models(torchvision.models)
    names += torchvision.models.list_models(torchvision.models.segmentation)
    # A RegNet is the one kind that takes time to make.
    return [
        name
        for name in names
        if (not name.startswith("regnet") and is_transformer(make(name))) == transformers
    ]


QUICK = (
    "convnext_tiny densenet121 efficientnet_b0 googlenet lraspp_mobilenet_v3_large "
    "mobilenet_v3_small regnet_y_400mf resnext50_32x4d shufflenet_v2_x0_5 squeezenet1_1"
).split()
ALL = os.environ.get("LWDNA_TEST_ALL") == "1"


def initialise(model):
    """Weights that let signals through, statistics of a trained network."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        for name, tensor in [
            *module.named_parameters(recurse=False),
            *module.named_buffers(recurse=False),
        ]:
            if name == "num_batches_tracked":
                tensor.zero_()
            elif tensor.ndim > 1:
                bound = (3 / tensor[0].numel()) ** 0.5
                tensor.uniform_(-bound, bound, generator=generator)
            elif name in {"weight", "running_var"}:
                tensor.uniform_(0.5, 1.5, generator=generator)
            else:
                tensor.uniform_(-0.1, 0.1, generator=generator)


def test_no_convolutional_network_is_left_out():
    """As many as torchvision 0.29 has; later ones may have more."""
    segmenting = torchvision.models.list_models(torchvision.models.segmentation)
    names = set(networks(transformers=False))
    assert len(names - set(segmenting)) >= 68
    assert len(names & set(segmenting)) >= 6


@pytest.mark.parametrize("name", networks(transformers=False) if ALL else QUICK)
@torch.no_grad()
def test_torchvision(name, tmp_path, record_property):
    """Shrunk to half of its FLOPs, a network equals itself with the dropped channels silenced."""
    model = make(name)
    params = sum(p.numel() for p in model.parameters())
    dtype = torch.float64 if params < 1.5e8 else torch.float32
    model = model.to(dtype).to_empty(device="cpu").eval()
    initialise(model)
    size = 299 if name == "inception_v3" else 64
    x = torch.randn(2, 3, size, size, dtype=dtype)
    start = time.perf_counter()
    graph = ChannelGraph(model, x)
    seconds = time.perf_counter() - start
    counted = MaskedComplexity(graph)
    full = graph.full_mask()
    direct = complexity(model, x)
    assert (counted.flops(full), counted.params(full)) == direct

    scores = np.random.default_rng(0).random(graph.elements)
    target = SHARE * direct[0]
    mask = select(graph, counted, scores, Budget(target, floors(graph.sets, 0.05, 0.05)))
    flops, kept_params = counted.flops(mask), counted.params(mask)
    shrunk = derive(
        Derivation(graph, model, mask, x, counted, like=model, settings={"batch_norm": True})
    )
    small = shrunk.model
    assert flops <= target
    assert sum(p.numel() for p in small.parameters()) == kept_params
    assert complexity(small, x) == (flops, kept_params)

    ours = small(x)
    wide = silence(graph, model, mask)(x)
    ours, wide = (y if isinstance(y, dict) else {"out": y} for y in (ours, wide))
    tolerance = 1e-9 if dtype == torch.float64 else 1e-3
    for key, value in wide.items():
        scale = value.abs().max()
        assert scale.isfinite()
        assert scale > 0
        assert (ours[key] - value).abs().max() < tolerance * scale

    shrunk.save(tmp_path / "small.safetensors")
    again = lwdna.load(tmp_path / "small.safetensors", network=lambda: make(name).to(dtype))
    result = again.eval()(x)
    result = result if isinstance(result, dict) else {"out": result}
    for key, value in ours.items():
        torch.testing.assert_close(result[key], value, rtol=tolerance, atol=tolerance)
    assert all(
        torch.equal(a, b) for a, b in zip(again.parameters(), small.parameters(), strict=True)
    )
    sets = [channels for channels in graph.sets if channels.prunable]
    record_property(
        "row",
        f"{name:<28} {len(sets):>8} {graph.elements:>9} {seconds:>9.2f} {flops / direct[0]:>9.2%} "
        f"{kept_params / params:>9.2%}",
    )


@pytest.mark.parametrize("name", networks(transformers=True) if ALL else ["vit_b_16", "swin_t"])
def test_transformers_are_followed_in_part_or_refused_by_name(name, record_property):
    """Attention is left whole and named; what is between is free."""
    try:
        graph = ChannelGraph(make(name), torch.empty(1, 3, 224, 224))
    except lwdna.errors.GraphError as error:
        assert re.search(r"at module '|at .*\.py:\d+", str(error))
        record_property("refused", f"{name}: {error}")
        return
    assert graph.unfollowed
    mask = graph.full_mask()
    for channels in graph.sets:
        free = channels.elements[~channels.frozen]
        mask[free[: len(free) // 2]] = False
    assert not mask.all()
    x = torch.empty(1, 3, 224, 224, device="meta")
    small = cut(graph, graph.model, mask)
    verify(graph, small, x, mask, MaskedComplexity(graph), batch_norm=True)


def test_budget_error_names_what_is_held(stream):
    model = Net(HELD["slice"], a=conv(3, 12), b=conv(12, 2))
    with pytest.raises(BudgetError, match=r"'a' all stay: getitem .*test_zoo\.py"):
        lwdna.shrink(model, X, stream(2, 3, 8, 8), target_flops=1000)


def test_a_branch_on_the_number_of_channels_is_noticed(stream):
    def run(self, x):
        x = self.a(x)
        return self.b(functional.relu(x) if x.shape[1] >= 12 else x.sigmoid())

    model = Net(run, a=conv(3, 12), b=conv(12, 2))
    with pytest.raises(lwdna.errors.GraphError, match="takes another way"):
        lwdna.shrink(model, X, stream(2, 3, 8, 8), target_flops=10000)


def test_no_layer_loses_all_its_channels(stream):
    """Floors hold for a set; a layer that makes a part of it keeps one channel all the same."""
    modules = {"a": conv(3, 8), "b": conv(3, 8), "c": conv(3, 16), "d": conv(16, 2)}
    model = Net(lambda self, x: self.d(torch.cat([self.a(x), self.b(x)], 1) + self.c(x)), **modules)
    for seed in range(20):
        small = lwdna.shrink(
            model, X, None, target_flops=20000, rho=0.1, criterion="magnitude", seed=seed
        )
        assert all(small.kept.values())


def test_an_input_without_a_batch_axis_is_refused():
    model = nn.Sequential(conv(3, 8), conv(8, 2))
    for count in (ChannelGraph, complexity):
        with pytest.raises(lwdna.errors.GraphError, match="batch axis"):
            count(model, X[0])


def test_an_index_that_is_a_tensor_holds_what_it_takes():
    model = Net(lambda self, x: self.b(self.a(x)[:, self.order]), a=conv(3, 8), b=conv(8, 2))
    model.register_buffer("order", torch.randperm(8))
    graph = ChannelGraph(model, X)
    assert "an index that is a tensor" in graph.unfollowed[0]
    assert not any(channels.prunable for channels in graph.sets)


def test_a_network_that_was_changed_after_it_was_built(tmp_path):
    """Its name would build another one."""
    model = lwdna.build("ResNet8")
    model.stem[2] = nn.SiLU()
    x = torch.zeros(1, 3, 32, 32)
    target = 0.5 * complexity(model, x)[0]
    small = lwdna.shrink(model, x, None, target_flops=target, rho=0.1, criterion="magnitude")
    small.save(tmp_path / "small.safetensors")
    with pytest.raises(lwdna.errors.CheckpointError, match="changed after it was built"):
        lwdna.load(tmp_path / "small.safetensors")


def test_a_forward_hook_is_refused():
    model = nn.Sequential(conv(3, 8), nn.Sequential(conv(8, 2)))
    model[0].register_forward_hook(lambda module, inputs, output: output.flip(1))
    with pytest.raises(lwdna.errors.GraphError, match="'0' has a forward hook"):
        ChannelGraph(model, X)


def test_a_loss_that_does_not_depend_on_the_network(stream):
    model = nn.Sequential(conv(3, 8), conv(8, 2))
    with pytest.raises(lwdna.errors.TrainingError, match="does not depend on the network"):
        lwdna.shrink(model, X, lambda network: 0 * network(X).sum(), target_flops=12000)


def test_what_is_not_counted_is_named(caplog):
    complexity(nn.Sequential(nn.Flatten(2), nn.LSTM(64, 8)), X)
    assert "leave out what 1 computes" in caplog.text
    caplog.clear()
    complexity(make("convnext_tiny"), torch.empty(1, 3, 64, 64))
    assert "leave out" not in caplog.text
