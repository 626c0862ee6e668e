"""Latent vectors, generated weights and latent gradients, against Listing 1 done by hand."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrize

from lwdna.errors import TrainingError
from lwdna.graph.channels import ChannelGraph
from lwdna.networks.build import build
from lwdna.shrinkage import hypernetwork
from lwdna.shrinkage import latents as latents_module
from lwdna.shrinkage.gradients import explicit_gradients, latent_gradients
from lwdna.shrinkage.latents import draw_latents, draw_weights, hypernetwork_size

DOUBLE = torch.float64
SIZE = (2, 3, 8, 8)


def conv(*arguments, **options):
    return nn.Conv2d(*arguments, padding=options.pop("padding", 1), **options)


def chain():
    return nn.Sequential(
        conv(3, 6, 3, bias=False), nn.ReLU(), conv(6, 4, 3, bias=False), nn.ReLU(), conv(4, 2, 3)
    )


def with_biases_and_batch_norm():
    return nn.Sequential(
        conv(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), conv(6, 4, 3), nn.BatchNorm2d(4), conv(4, 2, 3)
    )


def depthwise():
    return nn.Sequential(
        conv(3, 6, 3), conv(6, 6, 3, groups=6), nn.SiLU(), conv(6, 12, 3, groups=6), conv(12, 2, 3)
    )


def grouped():
    return nn.Sequential(conv(3, 16, 3), nn.SiLU(), conv(16, 12, 3, groups=4), conv(12, 2, 3))


def transposed():
    return nn.Sequential(conv(3, 6, 3), nn.ConvTranspose2d(6, 4, 2, stride=2), conv(4, 2, 3))


def grouped_transposed():
    return nn.Sequential(
        conv(3, 8, 3), nn.ConvTranspose2d(8, 12, 3, stride=2, groups=4), nn.SiLU(), conv(12, 2, 3)
    )


def classifier():
    return nn.Sequential(
        conv(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 5)
    )


def hidden_linear():
    """A linear layer after a flatten, and one between two others."""
    return nn.Sequential(
        conv(3, 6, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24, 10),
        nn.SiLU(),
        nn.Linear(10, 8, bias=False),
        nn.SiLU(),
        nn.Linear(8, 5),
    )


NETWORKS = {
    "chain": (chain, SIZE),
    "biases and batch norm": (with_biases_and_batch_norm, SIZE),
    "depthwise": (depthwise, SIZE),
    "groups of 4": (grouped, SIZE),
    "transposed": (transposed, SIZE),
    "grouped transposed": (grouped_transposed, SIZE),
    "flatten and linear": (classifier, SIZE),
    "hidden linear": (hidden_linear, SIZE),
    "residual": (lambda: build("ResNet14", width=0.25), SIZE),
    "concatenation": (lambda: build("U-Net", width=0.125, depth=3), (2, 1, 8, 8)),
    "pixel shuffle": (lambda: build("EDSR", width=0.05, blocks=2), (2, 3, 4, 4)),
}


@pytest.fixture(params=NETWORKS)
def example(request):
    make, shape = NETWORKS[request.param]
    model = make().to(DOUBLE)
    return ChannelGraph(model, torch.zeros(shape, dtype=DOUBLE)), model, shape


def attached(graph, model, seed=3):
    """A copy with an explicit hypernetwork."""
    copied = copy.deepcopy(model).train()
    z = draw_latents(graph, seed)
    return copied, hypernetwork.attach_hypernetwork(graph, copied, z, seed=seed)


def generators(model):
    return {
        name: module.parametrizations.weight
        for name, module in model.named_modules()
        if parametrize.is_parametrized(module, "weight")
    }


def test_closed_form_equals_the_explicit_hypernetwork(example, stream):
    graph, model, shape = example
    explicit, latents = attached(graph, model)
    stream(*shape, dtype=DOUBLE)(explicit).backward()
    expected = latents.gather(gradients=True).numpy()

    loss_fn = stream(*shape, dtype=DOUBLE)
    z, gradients = latent_gradients(graph, copy.deepcopy(model), loss_fn, batches=1, seed=3)
    np.testing.assert_allclose(gradients, expected, rtol=1e-9, atol=0)
    # Almost every channel has a slope: a few are dead behind a ReLU or touch no hypernetwork.
    assert np.count_nonzero(expected) > 0.6 * graph.elements
    assert torch.equal(z, draw_latents(graph, 3))


def both_routes(graph, model, loss_fn, **options):
    """What one warm-up step leaves: streamed, and with the hypernetwork in memory."""
    options = {"seed": 3, "embedding": 8, "warmup_steps": 1} | options
    streamed, explicit = copy.deepcopy(model).train(), copy.deepcopy(model).train()
    results = (
        latent_gradients(graph, streamed, loss_fn(), batches=3, **options),
        explicit_gradients(graph, explicit, loss_fn(), batches=2, **options),
    )
    parameters = [dict(m.named_parameters()) for m in (streamed, explicit)]
    assert parameters[0].keys() == parameters[1].keys()
    return *results, *parameters


def assert_equal_routes(routes):
    (z, gradients), (z_expected, expected), parameters, parameters_expected = routes
    torch.testing.assert_close(z, z_expected, rtol=1e-9, atol=1e-14)
    scale = float(expected.abs().max())
    np.testing.assert_allclose(gradients, expected, rtol=1e-9, atol=1e-12 * scale)
    for name, parameter in parameters.items():
        torch.testing.assert_close(
            parameter, parameters_expected[name], rtol=1e-9, atol=1e-12, msg=name
        )


@pytest.mark.parametrize("embedding", [1, 2, 8])
def test_streamed_warmup_step_equals_the_explicit_hypernetwork(example, stream, embedding):
    graph, model, shape = example
    routes = both_routes(graph, model, lambda: stream(*shape, dtype=DOUBLE), embedding=embedding)
    assert_equal_routes(routes)
    assert float((routes[0][0] - draw_latents(graph, 3)).abs().max()) > 1e-6


def test_streamed_warmup_step_in_blocks(monkeypatch, stream):
    monkeypatch.setattr(latents_module, "_BLOCK", 200)
    for make in (chain, depthwise, grouped_transposed):
        model = make().to(DOUBLE)
        graph = ChannelGraph(model, torch.zeros(SIZE, dtype=DOUBLE))
        assert_equal_routes(both_routes(graph, model, lambda: stream(*SIZE, dtype=DOUBLE)))


class Branches(nn.Module):
    """The loss does not depend on ``spare``, which reads the trunk, and fixes ``fixed``."""

    def __init__(self):
        super().__init__()
        self.stem, self.fixed, self.tail = conv(3, 6, 3), conv(6, 6, 3), conv(6, 2, 3)
        self.spare, self.lone = conv(6, 4, 3), conv(4, 2, 3)
        self.fixed.weight.requires_grad_(False)

    def forward(self, x):
        x = self.stem(x)
        return self.tail(x + self.fixed(x)), self.lone(self.spare(x))


def test_streamed_warmup_step_leaves_what_has_no_gradient(stream):
    """Weight decay reaches only what SGD reaches."""
    model = Branches().to(DOUBLE)
    graph = ChannelGraph(model, torch.zeros(SIZE, dtype=DOUBLE))

    def first_output():
        loss_fn = stream(*SIZE, dtype=DOUBLE)
        return lambda m: m(loss_fn.batch())[0].square().mean()

    routes = both_routes(graph, model, first_output)
    assert_equal_routes(routes)
    (z, gradients), parameters = routes[0], routes[2]
    lone = graph.layers["lone"].outputs
    assert torch.equal(z[lone], draw_latents(graph, 3)[lone])
    assert not gradients[lone].any()
    assert torch.equal(parameters["fixed.weight"], model.fixed.weight)
    # The unused layer is generated from the trunk's latent vector, which did move.
    drawn = copy.deepcopy(model)
    draw_weights(graph, drawn, draw_latents(graph, 3), seed=3)
    assert not torch.allclose(parameters["spare.weight"], drawn.spare.weight, rtol=1e-4)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_streamed_warmup_step_in_single_precision(stream, memory_format):
    model = build("ResNet8", width=0.5).to(memory_format=memory_format)
    graph = ChannelGraph(model, torch.zeros(SIZE))
    (z, gradients), (z_expected, expected), *parameters = both_routes(
        graph, model, lambda: stream(*SIZE)
    )
    torch.testing.assert_close(z, z_expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        gradients, expected, rtol=1e-2, atol=1e-3 * float(expected.abs().max())
    )
    for name, parameter in parameters[0].items():
        torch.testing.assert_close(parameter, parameters[1][name], rtol=1e-3, atol=1e-4)


def test_number_of_threads_makes_no_difference(stream, monkeypatch):
    monkeypatch.setattr(latents_module, "_BLOCK", 500)
    model = chain()
    graph = ChannelGraph(model, torch.zeros(SIZE))
    results = []
    for threads in (1, 5):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        copied = copy.deepcopy(model)
        z, gradients = latent_gradients(graph, copied, stream(*SIZE), warmup_steps=1)
        results.append([z.numpy(), gradients, copied[2].weight.detach().numpy()])
    for one, five in zip(*results, strict=True):
        assert np.array_equal(one, five)


def test_drawn_weights_are_those_the_hypernetwork_generates(example):
    graph, model, _ = example
    explicit, _ = attached(graph, model)
    drawn = copy.deepcopy(model)
    draw_weights(graph, drawn, draw_latents(graph, 3), seed=3)
    made = generators(explicit)
    hidden = [name for name in graph.layers if not graph.frozen[graph.layers[name].outputs].all()]
    trainable = {
        name
        for name, m in model.named_modules()
        if (isinstance(m, (nn.Conv2d, nn.ConvTranspose2d)) or (name in hidden))
        and m.weight.requires_grad
    }
    assert made.keys() == trainable
    for name, module in drawn.named_modules():
        other = explicit.get_submodule(name)
        if name in made:
            assert not torch.equal(module.weight, model.get_submodule(name).weight)
            torch.testing.assert_close(module.weight, other.weight, rtol=1e-12, atol=1e-15)
            assert module.bias is None or not module.bias.any()
            assert other.bias is None or not other.bias.any()
        else:  # batch norms, the classifier and fixed convolutions stay as they are
            for own, theirs in zip(
                module.parameters(recurse=False),
                model.get_submodule(name).parameters(recurse=False),
                strict=True,
            ):
                assert torch.equal(own, theirs)


def test_drawing_in_blocks_changes_nothing_but_memory(monkeypatch):
    monkeypatch.setattr(latents_module, "_BLOCK", 200)
    model = chain().to(DOUBLE)
    graph = ChannelGraph(model, torch.zeros(SIZE, dtype=DOUBLE))
    explicit, _ = attached(graph, model)
    draw_weights(graph, model, draw_latents(graph, 3), seed=3)
    for layer in (0, 2, 4):
        torch.testing.assert_close(model[layer].weight, explicit[layer].weight)
        # No block repeats another.
        assert len(torch.unique(model[layer].weight)) == model[layer].weight.numel()


def listing_1(z_0, z_1, tensors):
    """The weight ``(n, c, k, k)``, element by element in Python floats."""
    weight1, weight2, bias0, bias1, bias2 = tensors
    n, c, m = weight1.shape
    kernel = weight2.shape[2]
    out = torch.empty(n, c, kernel, dtype=DOUBLE)
    for o in range(n):
        for i in range(c):
            a = float(z_0[o] * z_1[i] + bias0[o, i])
            e = [a * float(weight1[o, i, j]) + float(bias1[o, i, j]) for j in range(m)]
            for k in range(kernel):
                out[o, i, k] = sum(float(weight2[o, i, k, j]) * e[j] for j in range(m))
                out[o, i, k] += float(bias2[o, i, k])
    side = round(kernel**0.5)
    return out.view(n, c, side, side)


def originals(weight):
    names = ("original0", "original1", "original2", "original3", "original4")
    return [getattr(weight, name).detach() for name in names]


def test_weight_is_listing_1():
    model = nn.Sequential(conv(3, 4, 3), conv(4, 2, 3)).to(DOUBLE)
    graph = ChannelGraph(model, torch.zeros(SIZE, dtype=DOUBLE))
    explicit, latents = attached(graph, model)
    with torch.no_grad():
        for parameter in explicit.parameters():  # biases and latent vectors included
            parameter.normal_()
    z = {channels.name: v.detach() for channels, v in zip(graph.sets, latents.vectors, strict=True)}
    assert list(z) == ["input input_1", "0", "1"]
    first, second = (originals(generators(explicit)[name]) for name in ("0", "1"))
    assert [t.shape for t in first] == [(4, 3, 8), (4, 3, 9, 8), (4, 3), (4, 3, 8), (4, 3, 9)]
    expected = listing_1(z["0"], z["input input_1"], first)
    torch.testing.assert_close(explicit[0].weight, expected, rtol=1e-12, atol=1e-12)
    expected = listing_1(z["1"], z["0"], second)
    torch.testing.assert_close(explicit[1].weight, expected, rtol=1e-12, atol=1e-12)


def test_gradient_is_the_slope_of_the_loss_along_each_latent_element():
    """Central differences through Listing 1 by hand; the middle vector has three uses."""

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.body, self.tail = conv(3, 3, 1), conv(3, 3, 3), conv(3, 2, 1)

        def forward(self, x):
            x = self.head(x)
            return self.tail(x + torch.tanh(self.body(x)))

    model = Block().to(DOUBLE)
    x = torch.randn(1, 3, 4, 4, dtype=DOUBLE)
    graph = ChannelGraph(model, x)
    vectors = dict(zip((s.name for s in graph.sets), graph.sets, strict=True))
    assert list(vectors) == ["input x", "head", "tail"]
    explicit, _ = attached(graph, model)
    tensors = {name: originals(weight) for name, weight in generators(explicit).items()}

    def loss(z):
        image, trunk, out = (z[vectors[name].elements] for name in vectors)
        h = functional.conv2d(x, listing_1(trunk, image, tensors["head"]), padding=1)
        body = functional.conv2d(h, listing_1(trunk, trunk, tensors["body"]), padding=1)
        y = functional.conv2d(h + body.tanh(), listing_1(out, trunk, tensors["tail"]), padding=1)
        return float(y.square().sum())

    z, gradients = latent_gradients(graph, model, lambda m: m(x).square().sum(), batches=1, seed=3)
    step = 1e-5
    for element in range(graph.elements):
        up, down = z.clone(), z.clone()
        up[element] += step
        down[element] -= step
        slope = (loss(up) - loss(down)) / (2 * step)
        assert gradients[element] == pytest.approx(slope, rel=1e-6, abs=1e-8)


def test_latent_vectors_are_standard_normal():
    graph = ChannelGraph(nn.Sequential(conv(3, 20_000, 1), conv(20_000, 2, 1)), torch.zeros(SIZE))
    z = draw_latents(graph, 0)[graph.layers["0"].outputs]
    assert float(z.mean()) == pytest.approx(0, abs=0.03)
    assert float(z.var()) == pytest.approx(1, abs=0.04)
    for bound, share in ((0.5, 0.383), (1, 0.683), (2, 0.954)):
        assert float((z.abs() < bound).double().mean()) == pytest.approx(share, abs=0.012)
    assert z.dtype == DOUBLE
    assert bool((z != 0).all())


def test_draws_depend_on_the_seed_and_differ_between_vectors():
    model = nn.Sequential(conv(3, 50, 1), conv(50, 50, 1), conv(50, 50, 1))
    graph = ChannelGraph(model, torch.zeros(SIZE))
    z, again, other = (draw_latents(graph, seed) for seed in (1, 1, 2))
    assert torch.equal(z, again)
    assert not bool((z == other).any())
    assert len(torch.unique(z)) == graph.elements
    first, second = copy.deepcopy(model), copy.deepcopy(model)
    draw_weights(graph, first, z, seed=1)
    draw_weights(graph, second, z, seed=2)
    assert not bool((first[1].weight == second[1].weight).any())
    assert not bool((first[1].weight == first[2].weight).any())


@pytest.mark.parametrize(
    ("layer", "fan_in"),
    [
        (nn.Conv2d(16, 24, 3), 16 * 9),
        (nn.Conv2d(16, 24, 1), 16),
        (nn.Conv2d(16, 32, 3, groups=4), 4 * 9),
        (nn.Conv2d(16, 16, 3, groups=16), 9),
        (nn.ConvTranspose2d(16, 24, 2, stride=2), 16 * 4),
        (nn.ConvTranspose2d(16, 24, 2, stride=2, groups=4), 4 * 4),
        (nn.Conv1d(16, 8, 5), 16 * 5),
        (nn.Conv3d(8, 8, 3), 8 * 27),
    ],
    ids=str,
)
@pytest.mark.parametrize("embedding", [2, 8])
def test_generated_weights_have_variance_one_over_fan_in(layer, fan_in, embedding):
    size = (5,) * (layer.weight.ndim - 2)
    model = nn.Sequential(layer, nn.Identity())
    graph = ChannelGraph(model, torch.zeros(1, layer.in_channels, *size))
    # Latent elements of 1 leave the hypernetwork's own share of the variance.
    ones = torch.ones(graph.elements, dtype=DOUBLE)
    squares = []
    for seed in range(60):
        draw_weights(graph, model, ones, seed=seed, embedding=embedding)
        weight = layer.weight.detach()
        if layer.groups > 1:  # the inside of a group has a latent vector of its own: undo it
            copied = copy.deepcopy(model)
            hypernetwork.attach_hypernetwork(graph, copied, ones, seed=seed, embedding=embedding)
            inside = generators(copied)["0"][0].inside[0].detach()
            weight = weight / inside.view(1, -1, *[1] * len(size))
        squares.append(float(weight.square().mean()))
    assert float(np.mean(squares)) * fan_in == pytest.approx(1, rel=0.06)


def test_hyperfan_in_draws_are_uniform_and_biases_zero():
    model = nn.Sequential(nn.Conv2d(16, 32, 3))
    graph = ChannelGraph(model, torch.zeros(1, 16, 5, 5))
    copied, _ = attached(graph, model)
    weight1, weight2, *biases = originals(generators(copied)["0"])
    for tensor, bound in ((weight1, 3**0.5), (weight2, (3 / (8 * 144)) ** 0.5)):
        assert 0.99 * bound < float(tensor.abs().max()) <= bound
        assert float(tensor.var()) == pytest.approx(bound**2 / 3, rel=0.05)
    assert [bool(bias.any()) for bias in biases] == [False] * 3


def sgd_step(model, loss_fn, velocity):
    """One step of SGD on every tensor, written out: lr 0.1, momentum 0.9, weight decay 1e-4."""
    model.zero_grad(set_to_none=True)
    loss_fn(model).backward()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                step = parameter.grad + 1e-4 * parameter
                velocity[parameter] = 0.9 * velocity.get(parameter, 0) + step
                parameter.sub_(0.1 * velocity[parameter])


def test_warmup_step_moves_the_latent_vectors_by_their_gradient(stream):
    model = with_biases_and_batch_norm().to(DOUBLE)
    graph = ChannelGraph(model, torch.zeros(SIZE, dtype=DOUBLE))
    before, gradients = latent_gradients(
        graph, copy.deepcopy(model), stream(*SIZE, dtype=DOUBLE), batches=1, seed=3
    )
    after, _ = latent_gradients(
        graph, copy.deepcopy(model), stream(*SIZE, dtype=DOUBLE), warmup_steps=1, seed=3
    )
    expected = before - 0.1 * (torch.from_numpy(gradients) + 1e-4 * before)
    torch.testing.assert_close(after, expected, rtol=1e-9, atol=1e-12)
    # Without weight decay it would differ by more than the tolerance.
    assert float((after - (before - 0.1 * torch.from_numpy(gradients))).abs().max()) > 1e-6


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_warmup_steps_train_every_tensor_and_read_the_next_batches(stream, steps):
    model = with_biases_and_batch_norm().to(DOUBLE)
    graph = ChannelGraph(model, torch.zeros(SIZE, dtype=DOUBLE))
    by_hand, latents = attached(graph, model)
    loss_fn, velocity = stream(*SIZE, dtype=DOUBLE), {}
    for _ in range(steps):
        sgd_step(by_hand, loss_fn, velocity)
    by_hand.zero_grad(set_to_none=True)
    ((loss_fn(by_hand) + loss_fn(by_hand)) / 2).backward()

    measured = copy.deepcopy(model)
    z, gradients = latent_gradients(
        graph,
        measured,
        stream(*SIZE, dtype=DOUBLE),
        batches=steps + 2,
        warmup_steps=steps,
        seed=3,
    )
    np.testing.assert_allclose(z, latents.gather(gradients=False), rtol=1e-9)
    np.testing.assert_allclose(gradients, latents.gather(gradients=True), rtol=1e-8)
    # The network is plain again and holds the generated weights and the moved batch norms.
    assert not generators(measured)
    assert measured.state_dict().keys() == model.state_dict().keys()
    for name in ("0.weight", "3.weight", "5.bias", "1.weight"):
        made = by_hand.get_submodule(name.split(".")[0])
        torch.testing.assert_close(
            measured.state_dict()[name], getattr(made, name.split(".")[1]).detach()
        )
    assert all(type(p) is nn.Parameter and p.requires_grad for p in measured.parameters())


@pytest.mark.parametrize(
    ("batches", "warmup_steps", "calls"),
    [(1, 0, 1), (2, 0, 2), (5, 0, 5), (2, 1, 2), (1, 1, 2), (5, 2, 5), (3, 3, 4), (1, 3, 4)],
)
def test_batches_drawn(stream, batches, warmup_steps, calls):
    model = chain()
    graph = ChannelGraph(model, torch.zeros(SIZE))
    loss_fn = stream(*SIZE)
    latent_gradients(graph, model.eval(), loss_fn, batches=batches, warmup_steps=warmup_steps)
    assert loss_fn.calls == calls
    assert loss_fn.modes == [True] * calls


def test_gradients_are_averaged_over_the_batches(stream):
    model = chain().to(DOUBLE)
    graph = ChannelGraph(model, torch.zeros(SIZE, dtype=DOUBLE))

    def gradients(batches, first=0):
        loss_fn = stream(*SIZE, dtype=DOUBLE, first=first)
        return latent_gradients(graph, copy.deepcopy(model), loss_fn, batches=batches)[1]

    singles = [gradients(1, first) for first in range(3)]
    assert not np.allclose(singles[0], singles[1])
    np.testing.assert_allclose(gradients(3), np.mean(singles, axis=0), rtol=1e-9)


@pytest.mark.parametrize("warmup_steps", [0, 1])
def test_buffers_are_restored_and_no_gradient_is_left(stream, scramble, warmup_steps):
    model = scramble(build("ResNet8", width=0.25))
    graph = ChannelGraph(model, torch.zeros(SIZE))
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    latent_gradients(graph, model, stream(*SIZE), warmup_steps=warmup_steps)
    assert before
    for name, buffer in model.named_buffers():
        assert torch.equal(buffer, before[name]), name
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("warmup_steps", [0, 1])
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_precision_of_the_network_is_kept(stream, warmup_steps, dtype):
    model = grouped().to(dtype)
    graph = ChannelGraph(model, torch.zeros(SIZE, dtype=dtype))
    loss_fn = stream(*SIZE, dtype=dtype)
    z, gradients = latent_gradients(graph, model, loss_fn, warmup_steps=warmup_steps)
    assert {p.dtype for p in model.parameters()} == {dtype}
    assert (z.dtype, gradients.dtype) == (DOUBLE, np.float64)


@pytest.mark.parametrize("warmup_steps", [0, 1])
@pytest.mark.parametrize(
    "spoil",
    [lambda x: x * float("nan"), lambda x: x * float("inf"), lambda x: x + float("inf")],
    ids=["nan", "times inf", "plus inf"],
)
def test_loss_that_is_not_finite(stream, warmup_steps, spoil):
    model = chain()
    graph = ChannelGraph(model, torch.zeros(SIZE))
    loss_fn = stream(*SIZE)
    with pytest.raises(TrainingError, match="finite"):
        latent_gradients(graph, model, lambda m: spoil(loss_fn(m)), warmup_steps=warmup_steps)


def test_idle_convolution_is_left_alone(net, stream):
    model = net(lambda self, x: self.b(self.a(x)), a=conv(3, 4, 1), b=conv(4, 2, 1))
    model.idle = conv(4, 4, 1)
    before = model.idle.weight.clone()
    graph = ChannelGraph(model, torch.zeros(SIZE))
    _, gradients = latent_gradients(graph, model, stream(*SIZE))
    assert torch.equal(model.idle.weight, before)
    assert np.count_nonzero(gradients) == 3 + 4 + 2


@pytest.mark.parametrize("embedding", [2, 8])
def test_the_size_of_the_hypernetwork_is_that_of_its_tensors(embedding):
    model = build("MobileNetV1", dataset="cifar10", width=0.25)
    graph = ChannelGraph(model, torch.empty(1, 3, 32, 32))
    expected = hypernetwork_size(graph, model, embedding)
    hypernetwork.attach_hypernetwork(
        graph, model, draw_latents(graph, 0), seed=0, embedding=embedding
    )
    tensors = {n: p.numel() for n, p in model.named_parameters() if ".original" in n}
    assert sum(tensors.values()) == expected
