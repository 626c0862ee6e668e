"""Shrinkage: a budget met exactly, floors, the order of the scores, and what is refused."""

import copy
import json
import re

import numpy as np
import pytest
import torch
from torch import nn

import lwdna
from lwdna.errors import BudgetError, ConfigError, LwdnaError, TrainingError
from lwdna.graph.channels import ChannelGraph
from lwdna.graph.complexity import MaskedComplexity, complexity
from lwdna.graph.surgery import cut
from lwdna.networks.build import build
from lwdna.networks.provenance import table
from lwdna.shrinkage.budget import Budget, floors, select
from lwdna.shrinkage.gradients import latent_gradients

BLOCKS = ((24, 1), (32, 2), (40, 1))
NETWORKS = {
    "ResNet8": (lambda: build("ResNet8", width=0.5), (2, 3, 16, 16)),
    "MobileNetV1": (
        lambda: build("MobileNetV1", dataset="cifar10", blocks=BLOCKS),
        (2, 3, 8, 8),
    ),
    "DnCNN": (lambda: build("DnCNN", width=0.25, blocks=3), (2, 1, 8, 8)),
    "U-Net": (lambda: build("U-Net", width=0.25, depth=3), (2, 1, 8, 8)),
    "EDSR": (lambda: build("EDSR", width=0.125, blocks=2, scale=2), (2, 3, 6, 6)),
}


class Case:
    """A network with its graph, its complexity, and random scores."""

    def __init__(self, name, seed=0, rho=0.2, tau=0.45):
        make, self.shape = NETWORKS[name]
        self.model = make()
        self.graph = ChannelGraph(self.model, torch.zeros(self.shape))
        self.complexity = MaskedComplexity(self.graph)
        self.floor = floors(self.graph.sets, rho, tau)
        self.scores = np.random.default_rng(seed).lognormal(0, 2, self.graph.elements)
        self.least, self.most = interval(self)

    def select(self, target):
        return select(self.graph, self.complexity, self.scores, Budget(target, self.floor))

    def target(self, share):
        return self.least + share * (self.most - self.least)


def interval(case):
    """What BudgetError says can be reached."""
    with pytest.raises(BudgetError) as caught:
        case.select(0)
    return numbers(caught)


def numbers(caught):
    between = re.search(r"between ([\d,]+) and ([\d,]+) FLOPs", str(caught.value))
    return tuple(int(number.replace(",", "")) for number in between.groups())


@pytest.mark.parametrize(
    ("share", "seed"), [(0, 0), (0.03, 1), (0.3, 2), (0.5, 3), (0.5, 4), (0.9, 5), (1, 6)]
)
@pytest.mark.parametrize("name", NETWORKS)
def test_selection(name, share, seed):
    case = Case(name, seed)
    target = case.target(share)
    mask = case.select(target)

    # The budget holds, and no single dropped element fits any more.
    assert case.complexity.flops(mask) <= target
    for element in np.flatnonzero(~mask):
        mask[element] = True
        assert case.complexity.flops(mask) > target
        mask[element] = False

    for channels, floor in zip(case.graph.sets, case.floor, strict=True):
        kept, scores = mask[channels.elements], case.scores[channels.elements]
        assert kept.sum() >= floor
        assert kept[channels.frozen].all()
        # Elements of these networks' sets cost the same, so the best of each set stay.
        free = ~channels.frozen
        if not kept.all():
            assert scores[kept & free].min() > scores[~kept].max()


def best_first(graph, complexity, scores, floor, target):
    """The rule of selection, one channel at a time."""
    mask = graph.full_mask()
    for channels, count in zip(graph.sets, floor, strict=True):
        free = channels.elements[~channels.frozen]
        best = free[np.argsort(-scores[free], kind="stable")]
        mask[best[max(0, count - int(channels.frozen.sum())) :]] = False
    for element in np.argsort(-scores):
        if not mask[element]:
            mask[element] = True
            mask[element] = complexity.flops(mask) <= target
    return mask


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", NETWORKS)
def test_selection_is_best_first(name, seed):
    case = Case(name, seed, rho=0.1, tau=0.3)
    target = case.target(np.random.default_rng(seed).uniform(0.02, 0.98))
    expected = best_first(case.graph, case.complexity, case.scores, case.floor, target)
    assert np.array_equal(case.select(target), expected)


class Tangle(nn.Module):
    """A random network: sums and concatenations of whatever came before."""

    def __init__(self, seed):
        super().__init__()
        generator = np.random.default_rng(seed)
        self.sources = []
        widths = [3]
        layers = []
        for _ in range(8):
            kind = generator.choice(["conv", "add", "cat", "depthwise"])
            a = int(generator.integers(len(widths)))
            same = [i for i, w in enumerate(widths) if w == widths[a]]
            b = int(generator.choice(same)) if kind == "add" else int(generator.integers(a + 1))
            layer = nn.Identity()
            if kind == "conv":
                width = int(generator.choice([6, 9, 12]))
                layer = nn.Conv2d(widths[a], width, int(generator.choice([1, 3])), padding="same")
            elif kind == "depthwise":
                width = widths[a]
                layer = nn.Conv2d(width, width, 3, padding=1, groups=width)
            else:
                width = widths[a] if kind == "add" else widths[a] + widths[b]
            layers.append(nn.Sequential(layer, nn.ReLU()))
            self.sources.append((str(kind), a, b))
            widths.append(width)
        self.layers = nn.ModuleList(layers)
        self.tail = nn.Conv2d(sum(widths), 2, 1)

    def forward(self, x):
        made = [x]
        for layer, (kind, a, b) in zip(self.layers, self.sources, strict=True):
            y = made[a]
            if kind == "add":
                y = y + made[b]
            elif kind == "cat":
                y = torch.cat([y, made[b]], 1)
            made.append(layer(y))
        return self.tail(torch.cat(made, 1))


@pytest.mark.parametrize("seed", range(20))
def test_selection_is_best_first_in_random_networks(seed):
    graph = ChannelGraph(Tangle(seed), torch.zeros(1, 3, 8, 8))
    counted, floor = MaskedComplexity(graph), floors(graph.sets, 0.2, 0.2)
    generator = np.random.default_rng(seed)
    for share in generator.uniform(0.1, 0.95, 5):
        scores = generator.lognormal(0, 2, graph.elements)
        least = counted.flops(best_first(graph, counted, scores, floor, 0))
        target = least + share * (counted.flops(graph.full_mask()) - least)
        expected = best_first(graph, counted, scores, floor, target)
        assert np.array_equal(select(graph, counted, scores, Budget(target, floor)), expected)


@pytest.mark.parametrize("seed", range(5))
def test_extra_flops_are_what_one_more_element_costs(seed, random_mask):
    graph = ChannelGraph(Tangle(seed), torch.zeros(1, 3, 8, 8))
    counted, mask = MaskedComplexity(graph), random_mask(graph, seed)
    dropped = np.flatnonzero(~mask)
    assert len(dropped)
    expected = []
    for element in dropped:
        more = mask.copy()
        more[element] = True
        expected.append(counted.flops(more) - counted.flops(mask))
    assert counted.extra_flops(mask, dropped).tolist() == expected


@pytest.mark.parametrize("name", NETWORKS)
def test_both_ends_of_the_interval_are_reached(name):
    case = Case(name)
    mask = case.select(case.least)
    assert case.complexity.flops(mask) == case.least
    for channels, floor in zip(case.graph.sets, case.floor, strict=True):
        assert mask[channels.elements].sum() == max(floor, channels.frozen.sum())
    assert case.select(case.most).all()
    for hopeless in (case.least - 1, case.most + 1, float("nan"), float("inf")):
        with pytest.raises(BudgetError):
            case.select(hopeless)


def test_one_threshold_holds_for_all_sets():
    """Every channel that the threshold alone would keep is kept."""
    case = Case("DnCNN", rho=0, tau=0)
    mask = case.select(case.target(0.5))
    frozen = np.concatenate([s.elements[s.frozen] for s in case.graph.sets])
    free = np.setdiff1d(np.arange(case.graph.elements), frozen)
    order = free[np.argsort(-case.scores[free])]
    first_dropped = int(np.flatnonzero(~mask[order])[0])
    best = case.graph.full_mask()
    best[order[first_dropped:]] = False
    assert case.complexity.flops(best) <= case.target(0.5)
    best[order[first_dropped]] = True
    # With the next best channel it would cost too much; only cheaper ones are kept after it.
    kept_after = mask.copy()
    kept_after[order[first_dropped]] = True
    assert case.complexity.flops(kept_after) > case.target(0.5)
    assert mask[order[:first_dropped]].all()


class Uneven(nn.Module):
    """A set whose first channels cost much less than its last: 1 x 1 beside 5 x 5."""

    def __init__(self, cheap_first):
        super().__init__()
        kernels = (1, 5) if cheap_first else (5, 1)
        self.head = nn.Conv2d(3, 16, 1)
        self.a = nn.Conv2d(3, 8, kernels[0], padding=kernels[0] // 2)
        self.b = nn.Conv2d(3, 8, kernels[1], padding=kernels[1] // 2)
        self.tail = nn.Conv2d(16, 2, 1)

    def forward(self, x):
        return self.tail(self.head(x) + torch.cat([self.a(x), self.b(x)], 1))


@pytest.mark.parametrize("cheap_first", [True, False])
@pytest.mark.parametrize("scores_prefer_cheap", [True, False])
def test_elements_of_a_set_that_cost_differently(cheap_first, scores_prefer_cheap):
    model = Uneven(cheap_first)
    graph = ChannelGraph(model, torch.zeros(1, 3, 8, 8))
    counted = MaskedComplexity(graph)
    floor = floors(graph.sets, 0.5, 0.5)
    cheap = graph.layers["a" if cheap_first else "b"].outputs
    scores = np.ones(graph.elements)
    scores[cheap] = 2 if scores_prefer_cheap else 0.5
    # The smallest network that keeps the best half of the set by score, and one of each layer.
    smallest = graph.full_mask()
    worse = graph.layers["b" if cheap_first == scores_prefer_cheap else "a"].outputs
    smallest[worse[1:]] = False
    least = counted.flops(smallest)
    mask = select(graph, counted, scores, Budget(least, floor))
    assert counted.flops(mask) == least
    assert np.array_equal(mask, smallest)
    with pytest.raises(BudgetError) as caught:
        select(graph, counted, scores, Budget(least - 1, floor))
    assert numbers(caught) == (least, counted.flops(graph.full_mask()))


@pytest.mark.parametrize(
    ("rho", "tau", "expected"),
    [
        (0.2, 0.45, {"stem.0": 3, "stages.0.0.conv1": 3, "stages.2.0.conv2": 28}),
        (0, 0, {"stem.0": 1, "stages.0.0.conv1": 1, "stages.2.0.conv2": 1}),
        (1, 1, {"stem.0": 16, "stages.0.0.conv1": 16, "stages.2.0.conv2": 64}),
        (0.0625, 0.328125, {"stem.0": 1, "stages.0.0.conv1": 1, "stages.2.0.conv2": 21}),
    ],
)
def test_floors_of_rho_and_tau(rho, tau, expected):
    graph = ChannelGraph(build("ResNet8"), torch.zeros(1, 3, 32, 32))
    found = dict(zip((s.name for s in graph.sets), floors(graph.sets, rho, tau), strict=True))
    assert {name: found[name] for name in expected} == expected
    assert [s.name for s in graph.sets if s.feeds_classifier] == ["stages.2.0.conv2"]


def test_floor_does_not_lose_one_to_rounding():
    """0.29 * 100 is 28.999999999999996 in floats."""
    model = nn.Sequential(nn.Conv2d(3, 100, 1), nn.Conv2d(100, 2, 1))
    graph = ChannelGraph(model, torch.zeros(1, 3, 4, 4))
    assert floors(graph.sets, 0.29, 0.45)[1] == 29
    assert floors(graph.sets, 0.299, 0.45)[1] == 29


# -- the whole function --------------------------------------------------------------------------


def shrunk(name="ResNet8", loss_fn=None, share=0.5, **options):
    case = Case(name)
    options = {"target_flops": case.target(share)} | options
    return lwdna.shrink(case.model, torch.zeros(case.shape), loss_fn, **options)


@pytest.mark.parametrize(
    ("criterion", "warmup_steps"), [("gradient", 0), ("gradient", 1), ("magnitude", 1)]
)
@pytest.mark.parametrize("name", ["ResNet8", "MobileNetV1", "U-Net"])
def test_shrink_does_what_its_parts_do(name, criterion, warmup_steps, stream):
    case = Case(name)
    example_input = torch.zeros(case.shape)
    result = lwdna.shrink(
        case.model,
        example_input,
        stream(*case.shape),
        target_flops=case.target(0.5),
        criterion=criterion,
        warmup_steps=warmup_steps,
        batches=3,
        seed=5,
        start="generated",
    )
    assert case.least <= result.flops <= case.target(0.5)
    assert (result.flops, result.params) == complexity(result.model, example_input)
    assert (result.flops_before, result.params_before) == complexity(case.model, example_input)

    wide = copy.deepcopy(case.model)
    torch.manual_seed(5)  # dropout
    z, gradients = latent_gradients(
        case.graph, wide, stream(*case.shape), batches=3, warmup_steps=warmup_steps, seed=5
    )
    case.scores = np.abs(gradients) if criterion == "gradient" else z.abs().numpy()
    mask = case.select(case.target(0.5))
    assert result.kept == case.graph.kept(mask)
    # Its weights are the generated ones.
    for name_, tensor in cut(case.graph, wide, mask).state_dict().items():
        assert torch.equal(tensor, result.model.state_dict()[name_]), name_
    for layer, before in result.channels_before.items():
        module = case.model.get_submodule(layer)
        assert before == getattr(module, "out_channels", getattr(module, "out_features", None))
        assert result.kept[layer] == sorted(set(result.kept[layer]))
        assert result.kept[layer][-1] < before


def test_criteria_choose_differently(stream):
    shape = NETWORKS["ResNet8"][1]
    gradient = shrunk(loss_fn=stream(*shape)).kept
    magnitude = shrunk(loss_fn=stream(*shape), criterion="magnitude").kept
    warm = shrunk(loss_fn=stream(*shape), warmup_steps=1).kept
    assert gradient != magnitude
    assert gradient != warm


@pytest.mark.parametrize("name", ["EDSR", "SRResNet"])
def test_a_network_that_triples_the_resolution_keeps_to_its_budget(name):
    model, x = build(name, width=0.25, blocks=2, scale=3), torch.randn(2, 3, 6, 6)
    target = 0.6 * complexity(model, x)[0]
    options = {"criterion": "magnitude", "rho": 0.1, "tau": 0.2}
    small = lwdna.shrink(model, x, None, target_flops=target, **options)
    assert 0.9 * target < complexity(small.model, x)[0] == small.flops <= target
    assert small.model(x).shape == (2, 3, 18, 18)


@pytest.mark.parametrize("share", [0.3, 0.8])
@pytest.mark.parametrize("name", NETWORKS)
def test_uniform_keeps_the_same_share_of_every_set(name, share):
    case = Case(name)
    target = case.target(share)
    result = shrunk(name, share=share, criterion="uniform")
    assert result.flops <= target
    shares = []
    for channels, floor in zip(case.graph.sets, case.floor, strict=True):
        if not channels.prunable:
            continue
        # A set of an upsampling layer has several channels for each element.
        each = result.channels_before[channels.name] // len(channels)
        kept, whole = len(result.kept[channels.name]) // each, len(channels)
        if floor < kept:
            # Whole channels: a share is met within one, and one more where it still fits.
            shares.append(((kept - 2) / whole, (kept + 1) / whole))
    assert max(low for low, _ in shares) <= min(high for _, high in shares)


def test_uniform_needs_no_loss_and_no_seed_chooses_another_shape():
    shapes = [
        [len(kept) for kept in shrunk(criterion="uniform", seed=seed).kept.values()]
        for seed in (0, 1)
    ]
    assert shapes[0] == shapes[1]


def test_random_draws_from_the_seed_alone(stream):
    first, again, other = (shrunk(criterion="random", seed=seed).kept for seed in (0, 0, 1))
    assert first == again != other
    magnitude = shrunk(criterion="magnitude", seed=0).kept
    assert first != magnitude
    # Whatever the scores, a seed has the same latent vectors and so the same weights.
    warm = shrunk(loss_fn=stream(*NETWORKS["ResNet8"][1]), criterion="random", warmup_steps=1)
    assert warm.kept == first


@pytest.mark.parametrize("warmup_steps", [0, 1])
def test_a_seed_gives_the_same_network_again(stream, warmup_steps):
    """Dropout included, whatever the state of the global generator."""
    shape = NETWORKS["MobileNetV1"][1]

    def once(seed):
        model = NETWORKS["MobileNetV1"][0]()
        torch.manual_seed(0)
        for module in model.modules():  # the weights given do not matter, save the linear layer
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight)
                nn.init.zeros_(module.bias)
        torch.manual_seed(int(torch.randint(1000, (), generator=noise)))
        model.dropout.p = 0.9
        return lwdna.shrink(
            model,
            torch.zeros(shape),
            stream(*shape),
            target_flops=1e5,
            warmup_steps=warmup_steps,
            seed=seed,
        )

    noise = torch.Generator().manual_seed(0)
    first, second, other = once(3), once(3), once(4)
    assert first.kept == second.kept
    for name, tensor in first.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name]), name
    assert first.kept != other.kept


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("warmup_steps", [0, 1])
def test_the_model_given_is_not_changed(stream, snapshot, scramble, training, warmup_steps):
    case = Case("MobileNetV1")
    model = scramble(case.model).train(training)
    before = snapshot(model)
    result = lwdna.shrink(
        model,
        torch.zeros(case.shape),
        stream(*case.shape),
        target_flops=case.target(0.4),
        warmup_steps=warmup_steps,
    )
    snapshot.compare(model, before)
    assert {m.training for m in result.model.modules()} == {training}
    assert model.provenance.kept is None
    assert result.model.provenance.spec == model.provenance.spec
    assert result.model.provenance.kept == result.kept
    assert all(p.grad is None and p.requires_grad for p in result.model.parameters())
    # Nothing of the hypernetwork or of the wide network is left in it.
    wide = {t.untyped_storage().data_ptr() for t in model.state_dict().values()}
    assert not wide & {t.untyped_storage().data_ptr() for t in result.model.state_dict().values()}
    assert {type(m) for m in result.model.modules()} == {type(m) for m in model.modules()}


def test_a_mode_that_differs_between_modules_stays(stream):
    """Frozen batch norms, say."""
    case = Case("ResNet8")
    case.model.train()
    case.model.stem.eval()
    result = lwdna.shrink(
        case.model, torch.zeros(case.shape), stream(*case.shape), target_flops=case.target(0.5)
    )
    assert (result.model.training, result.model.stem.training) == (True, False)


def test_batch_norm_statistics_are_those_of_the_model_given(stream, scramble):
    case = Case("DnCNN")
    model = scramble(case.model)
    result = lwdna.shrink(
        model, torch.zeros(case.shape), stream(*case.shape), target_flops=case.target(0.5)
    )
    kept = result.kept["body.1.0"]
    assert 0 < len(kept) < 16
    assert torch.equal(result.model.body[1][1].running_var, model.body[1][1].running_var[kept])
    assert torch.equal(result.model.body[1][1].weight, model.body[1][1].weight[kept])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"criterion": "gradient"}, "the criterion 'gradient' needs .* by criterion='magnitude'"),
        ({"criterion": "magnitude", "warmup_steps": 1}, "warm-up .* needs .* by warmup_steps=0"),
    ],
    ids=["gradient", "warm-up"],
)
def test_what_needs_a_loss_is_named(settings, said):
    with pytest.raises(ConfigError, match=said):
        shrunk(**settings)


def test_magnitude_needs_none():
    result = shrunk(criterion="magnitude")
    assert result.flops < result.flops_before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"rho": -0.1}, "rho is -0.1"),
        ({"rho": 1.1}, "rho is 1.1"),
        ({"rho": float("nan")}, "rho is nan"),
        ({"tau": -1}, "tau is -1"),
        ({"tau": 45}, "tau is 45; give a share between 0 and 1"),
        ({"criterion": "gradients"}, "did you mean 'gradient'"),
        ({"criterion": "x"}, "allowed: 'gradient', 'magnitude', 'random', 'uniform'"),
        ({"batches": 0}, "batches is 0"),
        ({"warmup_steps": -1}, "warmup_steps is -1"),
        ({"embedding": 0}, "embedding is 0"),
    ],
    ids=str,
)
def test_arguments_out_of_range(arguments, sentence, stream):
    with pytest.raises(ConfigError, match=sentence):
        shrunk(loss_fn=stream(*NETWORKS["ResNet8"][1]), **arguments)


@pytest.mark.parametrize("below", [True, False])
def test_hopeless_target_names_both_ends_before_any_batch_is_drawn(below, stream):
    case = Case("ResNet8")
    loss_fn = stream(*case.shape)
    target = case.least - 1 if below else case.most + 1
    with pytest.raises(BudgetError, match="lower rho or tau" if below else "widen") as caught:
        shrunk(loss_fn=loss_fn, target_flops=target)
    assert numbers(caught) == (case.least, case.most)
    assert loss_fn.calls == 0


@pytest.mark.parametrize("share", [0, 1])
def test_a_target_at_an_end_works(share, stream):
    case = Case("ResNet8")
    result = shrunk(loss_fn=stream(*case.shape), share=share)
    assert result.flops == (case.least, case.most)[share]


def test_rho_and_tau_of_one_leave_only_the_whole_network(stream):
    case = Case("DnCNN")
    options = {"rho": 1, "tau": 1}
    whole = shrunk("DnCNN", stream(*case.shape), target_flops=case.most, **options)
    assert whole.params == whole.params_before
    with pytest.raises(BudgetError):
        shrunk("DnCNN", stream(*case.shape), target_flops=case.most - 1, **options)


def test_budget_without_batch_norm(stream):
    case = Case("DnCNN")
    example_input = torch.zeros(case.shape)
    options = {"target_flops": 100_000, "batch_norm": False}
    result = shrunk("DnCNN", stream(*case.shape), **options)
    assert result.flops == complexity(result.model, example_input, batch_norm=False)[0] <= 100_000
    assert complexity(result.model, example_input)[0] > result.flops
    assert result.flops_before == complexity(case.model, example_input, batch_norm=False)[0]


def test_loss_that_is_not_finite():
    case = Case("DnCNN")
    x = torch.randn(case.shape)
    with pytest.raises(TrainingError, match="finite"):
        shrunk("DnCNN", lambda model: model(x).mean() * float("nan"))


def test_report_names_every_layer():
    result = shrunk("DnCNN", criterion="magnitude")
    lines = result.report().splitlines()
    assert f"{result.flops_before:,} -> " in lines[0]
    assert f"{result.flops:,} ({100 * result.flops / result.flops_before:.2f} %)" in lines[0]
    assert f"{result.params:,} (" in lines[1]
    layers = {line.split()[0]: line.split()[1:4] for line in lines[2:]}
    assert layers == {
        name: [str(result.channels_before[name]), "->", str(len(kept))]
        for name, kept in result.kept.items()
    }


@pytest.mark.parametrize("warmup_steps", [0, 1])
def test_network_with_nothing_to_generate_is_refused(stream, warmup_steps):
    """The classifier has ordinary weights: nothing would score a channel."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    with pytest.raises(LwdnaError, match="no hidden linear layer"):
        lwdna.shrink(
            model,
            torch.zeros(1, 3, 2, 2),
            stream(4, 3, 2, 2),
            target_flops=20,
            warmup_steps=warmup_steps,
        )


@pytest.mark.parametrize("warmup_steps", [0, 1])
def test_hidden_linear_layers_are_shrunk(stream, warmup_steps):
    """A hidden linear layer is a 1x1 convolution: the same latent gradients, the same channels."""
    linear = nn.Sequential(
        nn.Linear(5, 16), nn.SiLU(), nn.Linear(16, 12), nn.SiLU(), nn.Linear(12, 2)
    )
    convolutions = nn.Sequential(
        nn.Conv2d(5, 16, 1),
        nn.SiLU(),
        nn.Conv2d(16, 12, 1),
        nn.SiLU(),
        nn.Flatten(),
        nn.Linear(12, 2),
    )
    convolutions[5].load_state_dict(linear[4].state_dict())
    kept = []
    for model, shape in ((linear, (4, 5)), (convolutions, (4, 5, 1, 1))):
        result = lwdna.shrink(
            model,
            torch.zeros(1, *shape[1:]),
            stream(*shape),
            target_flops=150,
            warmup_steps=warmup_steps,
        )
        kept.append(list(result.kept.values()))
    assert kept[0] == kept[1]
    assert len(kept[0][0]) < 16
    assert len(kept[0][1]) < 12


def test_network_whose_forward_fixes_a_number_of_channels(net, stream):
    def run(self, x):
        return self.fc(self.conv(x).reshape(-1, 8 * 16))

    model = net(run, conv=nn.Conv2d(3, 8, 1), fc=nn.Linear(128, 2))
    with pytest.raises(LwdnaError, match=r"'conv' all stay: reshape .*\.py:\d+: .*8 \* 16"):
        lwdna.shrink(model, torch.zeros(1, 3, 4, 4), stream(2, 3, 4, 4), target_flops=400)


def test_hidden_linear_layer_does_not_pay_for_everything(stream):
    """A part of it goes, as the scores say."""
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(256, 200),
        nn.ReLU(),
        nn.Linear(200, 10),
    )
    example_input = torch.zeros(1, 3, 8, 8)
    target = 0.9 * complexity(model, example_input)[0]
    result = lwdna.shrink(model, example_input, stream(2, 3, 8, 8), target_flops=target)
    kept = result.kept["5"]
    # Equal scores of 0 would cut one piece out of it: what is dropped follows from the order.
    assert 40 <= len(kept) < 200
    assert np.count_nonzero(np.diff(kept) > 1) > 1


def test_every_report_gives_the_share_of_a_known_baseline(tmp_path):
    alone = shrunk("DnCNN", criterion="magnitude")
    assert "baseline" not in alone.report()
    result = alone.beside(2 * alone.flops, 4 * alone.params)
    lines = result.report().splitlines()
    assert lines[0].endswith(f" %; 50.00 % of the baseline's {2 * alone.flops:,})")
    assert lines[1].endswith(f" %; 25.00 % of the baseline's {4 * alone.params:,})")
    result.save(tmp_path / "small.safetensors")
    summary = json.loads((tmp_path / "small.json").read_text())
    assert summary["flops"]["baseline"] == 2 * alone.flops
    assert summary["params"]["percent_of_baseline"] == 25.0
    loaded = lwdna.load(tmp_path / "small.safetensors").provenance
    assert table(loaded).endswith(
        f"50.0 % of the baseline's {2 * alone.flops:,} FLOPs, 25.0 % of its {4 * alone.params:,} "
        "parameters"
    )


def test_a_criterion_of_ones_own_draws_from_the_seed_where_it_prunes():
    net, drawn = lwdna.build("ResNet8"), []

    def criterion(graph, *_):
        drawn.append(torch.rand(graph.elements))
        return drawn[-1].numpy()

    torch.manual_seed(1)
    for seed in (0, 0, 5):
        lwdna.prune(net, torch.empty(1, 3, 16, 16), criterion, flops_ratio=0.5, seed=seed)
    first, again, other = drawn
    assert torch.equal(first, again) and not torch.equal(first, other)
    after = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(3))
