"""The registry and the networks of the paper."""

import pytest
import torch
import torchvision
from torch import nn

from lwdna.data.catalog import DATASETS
from lwdna.errors import ConfigError
from lwdna.graph.channels import ChannelGraph
from lwdna.graph.complexity import MaskedComplexity, complexity
from lwdna.graph.surgery import cut, silence
from lwdna.networks._widths import rounded
from lwdna.networks.build import build
from lwdna.networks.edsr import RGB_MEAN
from lwdna.networks.mobilenetv3 import SqueezeExcitation
from lwdna.networks.provenance import NetworkSpec
from lwdna.networks.registry import NETWORKS, input_shape
from lwdna.networks.resnet import ResNet


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"name": "ResNet-56"}, "did you mean 'ResNet56'"),
        ({"name": "MobilenetV1"}, "did you mean 'MobileNetV1'"),
        ({"name": "UNet"}, "did you mean 'U-Net'"),
        ({"name": "zzz"}, "allowed: 'DenseNet40', 'DnCNN', 'EDSR'"),
        ({"name": "EDSR", "block": 2}, "did you mean 'blocks'"),
        ({"name": "ResNet20", "depth": 56}, "no option 'depth'"),
        ({"name": "ResNet20", "dataset": "cifar-10"}, "did you mean 'cifar10'"),
        ({"name": "DnCNN", "dataset": "cifar10"}, "leave it out"),
        ({"name": "ResNet20", "width": 0}, "width multiplier is 0"),
        ({"name": "ResNet20", "width": -1.5}, "width multiplier is -1.5"),
        ({"name": "ResNet20", "width": float("nan")}, "width multiplier is nan"),
        ({"name": "ResNet20", "width": "2"}, "width multiplier is '2'"),
        ({"name": "ResNet57"}, "did you mean 'ResNet56'"),
        ({"name": "ResNet18"}, "no network 'ResNet18' .*FILE:FUNCTION"),
        ({"name": "RegNetX-4GF"}, "did you mean 'RegNetX-4.0GF'"),
        ({"name": "RegNetX-200MF", "variant": "X-400MF"}, "no option 'variant'"),
        ({"name": "RegNetX-200MF", "width": 0.25}, "24 channels at width 0.25 leave no group of 8"),
        ({"name": "RegNetX-200MF", "strides": [2, 2]}, "a list of 4 whole numbers"),
        ({"name": "MobileNetV2", "strides": 2}, "a list of 7 whole numbers"),
        ({"name": "EfficientNet", "strides": [1]}, "a list of 7 whole numbers"),
        ({"name": "DenseNet40", "depth": 100}, "no option 'depth'"),
        ({"name": "EDSR", "scale": 6}, "2, 3, 4 or 8"),
        ({"name": "EDSR", "scale": 1}, "from 2 to 8"),
        ({"name": "MobileNetV1", "dropout": 2}, "dropout"),
    ],
    ids=str,
)
def test_build_refuses(arguments, sentence):
    with pytest.raises(ConfigError, match=sentence):
        build(**arguments)


@pytest.mark.parametrize("width", [0.001, float("inf")])
@pytest.mark.parametrize("name", NETWORKS)
def test_build_refuses_a_width_that_leaves_no_channel_or_no_end(name, width):
    with pytest.raises(ConfigError, match=f"{name}.*{width}|{width}"):
        build(name, width=width)


@pytest.mark.parametrize(
    ("name", "options"),
    [("U-Net", {"depth": 0}), ("DnCNN", {"blocks": -1}), ("EDSR", {"channels": 0})],
    ids=str,
)
def test_build_refuses_options_out_of_range(name, options):
    with pytest.raises(ConfigError, match=name):
        build(name, **options)


@pytest.mark.parametrize(("depth", "blocks"), [(8, 1), (14, 2), (20, 3), (110, 18)])
def test_resnet_of_any_depth(depth, blocks):
    with torch.device("meta"):
        model = build(f"ResNet{depth}")
    assert [len(stage) for stage in model.stages] == [blocks] * 3


@pytest.mark.parametrize(
    ("name", "layer", "width", "channels"),
    [
        ("ResNet8", "stem.0", 1.99, 31),
        ("ResNet8", "stages.2.0.conv1", 0.3, 19),
        ("MobileNetV1", "features.13.1.0", 0.55, 563),
        ("MobileNetV1", "features.0.0", 2, 64),
        ("DnCNN", "head.0", 0.99, 63),
        ("U-Net", "down.4.conv2", 0.26, 8 * 16),
        ("EDSR", "upsample.0.0", 0.5, 256),
        ("SRResNet", "head.0", 1.5, 96),
        ("DenseNet40", "features.1.layers.2", 1.3, 15),
        ("ResNet50", "conv1", 0.3, 19),
        ("ResNet50", "layer4.2.conv3", 0.3, 4 * 153),
        ("MobileNetV2", "features.0.0", 0.3, 9),
        ("MobileNetV2", "features.18.0", 0.3, 384),
        ("EfficientNet", "features.2.0.block.0.0", 0.7, 6 * 11),
        ("EfficientNet", "features.8.0", 0.7, 896),
        # Groups of 8: int(3.9), and int(7 * 1.3).
        ("RegNetX-200MF", "trunk_output.block1.block1-0.f.b.0", 1.3, 24),
        ("RegNetX-200MF", "trunk_output.block2.block2-0.f.b.0", 1.3, 72),
    ],
)
def test_width_multiplies_and_rounds_down(name, layer, width, channels):
    with torch.device("meta"):
        model = build(name, width=width)
    assert model.get_submodule(layer).out_channels == channels


CLASSIFICATION = ["ResNet8", *(n for n, e in NETWORKS.items() if e.dataset and e.make != ResNet)]


@pytest.mark.parametrize(
    ("dataset", "width"),
    [*((dataset, 1) for dataset in DATASETS), (None, 0.5), (None, 1.5), (None, 2)],
)
@pytest.mark.parametrize("name", CLASSIFICATION)
def test_classification_gives_logits(name, dataset, width):
    with torch.device("meta"):
        model = build(name, dataset=dataset, width=width).eval()
        shape = input_shape(name, dataset)
        expected = DATASETS[dataset or NETWORKS[name].dataset]
        assert shape[2:] == (expected.size,) * 2
        assert model(torch.empty(2, *shape[1:])).shape == (2, expected.classes)


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_classification_learns(name):
    model = build(name, dataset="digits", width=0.5)
    model(torch.randn(2, 3, 32, 32)).square().mean().backward()
    for parameter, tensor in model.named_parameters():
        assert tensor.grad is not None and tensor.grad.isfinite().all(), parameter


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_classification_can_be_cut(name, random_mask, scramble):
    model = scramble(build(name, dataset="digits", width=0.5)).eval()
    x = torch.randn(2, 3, 32, 32)
    graph = ChannelGraph(model, x)
    mask = random_mask(graph)
    small, masked = cut(graph, model, mask), MaskedComplexity(graph)
    assert complexity(small, x) == (masked.flops(mask), masked.params(mask))
    with torch.no_grad():
        torch.testing.assert_close(small(x), silence(graph, model, mask)(x))


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("ResNet50", torchvision.models.resnet50),
        ("MobileNetV2", torchvision.models.mobilenet_v2),
        ("EfficientNet", torchvision.models.efficientnet_b0),
        ("RegNetY-400MF", torchvision.models.regnet_y_400mf),
    ],
)
def test_weights_of_torchvision_fit(name, make):
    ours, theirs = build(name, dataset="imagenet"), make()
    shapes = {key: tensor.shape for key, tensor in theirs.state_dict().items()}
    assert {key: tensor.shape for key, tensor in ours.state_dict().items()} == shapes


def test_resnet50_computes_what_torchvision_does():
    ours, theirs = build("ResNet50").eval(), torchvision.models.resnet50().eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x))


def test_mnasnet_computes_what_torchvision_does():
    ours = build("MnasNet").eval()
    theirs = torchvision.models.mnasnet1_0(num_classes=200).eval()
    state = zip(ours.state_dict(), theirs.state_dict().values(), strict=True)
    ours.load_state_dict(dict(state))
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x))


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_batch_norms_and_dropout_are_the_papers(name):
    modules = [*build(name).modules()]
    norms = [m for m in modules if isinstance(m, nn.BatchNorm2d)]
    assert {(m.eps, m.momentum, m.affine, m.track_running_stats) for m in norms} == {
        (1e-5, 0.1, True, True)
    }
    dropped = {m.p for m in modules if isinstance(m, nn.Dropout)} - {0.0}
    assert dropped == ({0.2} if name in {"MobileNetV1", "MobileNetV2", "MnasNet"} else set())


@pytest.mark.parametrize(
    ("name", "dataset", "before_the_end"),
    [
        ("RegNetX-200MF", "cifar100", 8),
        ("RegNetX-200MF", "tiny-imagenet", 8),
        ("RegNetX-200MF", "imagenet", 7),
        ("EfficientNet", "cifar100", 8),
        ("EfficientNet", "tiny-imagenet", 8),
        ("EfficientNet", "imagenet", 7),
        ("MobileNetV2", "cifar10", 4),
        ("MobileNetV2", "tiny-imagenet", 4),
        ("MobileNetV2", "imagenet", 7),
        ("MobileNetV3-large", "tiny-imagenet", 4),
        ("MobileNetV3-small", "imagenet", 7),
        ("MnasNet", "digits", 2),
        ("DenseNet40", "cifar10", 8),
        ("ResNet50", "cifar10", 4),
        ("ResNet50", "tiny-imagenet", 8),
        ("ResNet50", "imagenet", 7),
    ],
)
def test_last_resolution(name, dataset, before_the_end):
    with torch.device("meta"):
        model = build(name, dataset=dataset).eval()
        sizes = []
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(lambda _m, _x, out: sizes.append(out.shape[-1]))
        model(torch.empty(input_shape(name, dataset)))
    assert [size for size in sizes if size > 1][-1] == before_the_end


def test_squeeze_is_a_quarter_rounded_down():
    sizes = {
        module.fc1.out_features
        for module in build("MobileNetV3-large").modules()
        if isinstance(module, SqueezeExcitation)
    }
    assert sizes == {18, 30, 120, 168, 240}


@pytest.mark.parametrize(
    ("channels", "width", "expected"),
    [(16, 1, 16), (24, 0.5, 16), (40, 0.35, 16), (72, 1.5, 112), (88, 0.1, 8), (88, 0.125, 16)],
)
def test_rounding_to_multiples_of_8_loses_at_most_a_tenth(channels, width, expected):
    assert rounded(channels, width) == expected


def test_mobilenet_keeps_the_resolution_of_small_images():
    assert build("MobileNetV1", dataset="cifar10").features[0][0].stride == (1, 1)
    assert build("MobileNetV1").features[0][0].stride == (2, 2)
    overruled = build("MobileNetV1", dataset="cifar10", stem_stride=2)
    assert overruled.features[0][0].stride == (2, 2)


@pytest.mark.parametrize(
    ("name", "options", "channels", "scale"),
    [
        ("DnCNN", {}, 1, 1),
        ("U-Net", {}, 1, 1),
        ("EDSR", {}, 3, 4),
        ("EDSR", {"scale": 2}, 3, 2),
        ("EDSR", {"scale": 3}, 3, 3),
        ("SRResNet", {}, 3, 4),
        ("SRResNet", {"scale": 3}, 3, 3),
        ("SRResNet", {"scale": 8}, 3, 8),
    ],
    ids=str,
)
def test_restoration_gives_images(name, options, channels, scale):
    with torch.device("meta"):
        model = build(name, **options).eval()
        assert input_shape(name) == (1, channels, 128, 128)
        out = model(torch.empty(2, channels, 32, 48))
    assert out.shape == (2, channels, 32 * scale, 48 * scale)


def test_edsr_takes_the_mean_colour_off_and_puts_it_back():
    model = build("EDSR", width=0.1, blocks=1, scale=2)
    mean = 255 * torch.tensor(RGB_MEAN).view(1, 3, 1, 1)
    x = 255 * torch.rand(2, 3, 4, 4)
    torch.testing.assert_close(model.sub_mean(x), x - mean)
    torch.testing.assert_close(model.add_mean(x), x + mean)
    assert not any(p.requires_grad for p in [*model.sub_mean.parameters()])
    assert not any(p.requires_grad for p in [*model.add_mean.parameters()])
    # With a dead tail only the mean colour is left.
    with torch.no_grad():
        model.tail.weight.zero_()
        model.tail.bias.zero_()
        torch.testing.assert_close(model(x), mean.expand(2, 3, 8, 8))


def test_dncnn_starts_from_its_input():
    model = build("DnCNN", width=0.1, blocks=1).eval()
    with torch.no_grad():
        model.tail.weight.zero_()
        model.tail.bias.zero_()
        x = torch.rand(1, 1, 5, 7)
        assert torch.equal(model(x), x)


def test_build_notes_its_arguments():
    model = build("EDSR", width=0.25, blocks=2)
    assert model.provenance.spec == NetworkSpec("EDSR", None, 0.25, {"blocks": 2})
    assert build("ResNet8").provenance.spec == NetworkSpec("ResNet8", "cifar10", 1.0, {})
    assert model.provenance.kept is None


@pytest.mark.parametrize("width", [0.5, 2])
def test_mnasnet_keeps_its_ends(width):
    with torch.device("meta"):
        model = build("MnasNet", width=width)
    ends = [model.features[i][0].out_channels for i in (0, 1, 2, -1)]
    assert ends == [32, 32, 16, 1280]
    assert model.features[3].layers[2][0].out_channels == {0.5: 16, 2: 48}[width]


@pytest.mark.parametrize(("width", "head"), [(0.5, 1280), (1.5, 1920)])
def test_mobilenetv3_keeps_a_head_of_1280(width, head):
    with torch.device("meta"):
        model = build("MobileNetV3-small", width=width)
    assert model.classifier[0].out_features == head
