"""The registry and the networks of the paper."""

import pytest
import torch

from lwdna.errors import ConfigError
from lwdna.networks import DATASETS, build, input_shape, network_names
from lwdna.networks.edsr import RGB_MEAN
from lwdna.provenance import NetworkSpec


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"name": "ResNet-56"}, "did you mean 'ResNet56'"),
        ({"name": "MobilenetV1"}, "did you mean 'MobileNetV1'"),
        ({"name": "UNet"}, "did you mean 'U-Net'"),
        ({"name": "zzz"}, "allowed: 'DnCNN', 'EDSR', 'MobileNetV1'"),
        ({"name": "EDSR", "block": 2}, "did you mean 'blocks'"),
        ({"name": "ResNet20", "depth": 56}, "no option 'depth'"),
        ({"name": "ResNet20", "dataset": "cifar-10"}, "did you mean 'cifar10'"),
        ({"name": "DnCNN", "dataset": "cifar10"}, "leave it out"),
        ({"name": "ResNet20", "width": 0}, "width multiplier is 0"),
        ({"name": "ResNet20", "width": -1.5}, "width multiplier is -1.5"),
        ({"name": "ResNet20", "width": float("nan")}, "width multiplier is nan"),
        ({"name": "ResNet20", "width": "2"}, "width multiplier is '2'"),
        ({"name": "ResNet57"}, "did you mean 'ResNet56'"),
        ({"name": "ResNet50"}, "no network 'ResNet50'"),
        ({"name": "EDSR", "scale": 3}, "2, 4 or 8"),
        ({"name": "EDSR", "scale": 1}, "2, 4 or 8"),
        ({"name": "MobileNetV1", "dropout": 2}, "dropout"),
    ],
    ids=str,
)
def test_build_refuses(arguments, sentence):
    with pytest.raises(ConfigError, match=sentence):
        build(**arguments)


@pytest.mark.parametrize("width", [0.001, float("inf")])
@pytest.mark.parametrize("name", network_names())
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
    ],
)
def test_width_multiplies_and_rounds_down(name, layer, width, channels):
    with torch.device("meta"):
        model = build(name, width=width)
    assert model.get_submodule(layer).out_channels == channels


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("name", ["ResNet8", "MobileNetV1"])
def test_classification_gives_logits(name, dataset):
    with torch.device("meta"):
        model = build(name, dataset=dataset).eval()
        shape = input_shape(name, dataset)
        assert shape[2:] == (DATASETS[dataset].size,) * 2
        assert model(torch.empty(2, *shape[1:])).shape == (2, DATASETS[dataset].classes)


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
        ("SRResNet", {}, 3, 4),
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


def test_widened_mobilenet_matches_the_measured_size():
    with torch.device("meta"):
        model = build("MobileNetV1", width=2)
    assert f"{sum(p.numel() for p in model.parameters()) / 1e6:.3f}" == "13.103"
