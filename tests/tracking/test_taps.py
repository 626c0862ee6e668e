"""Two maps of any network: torchvision's, the project's, shrunk ones, a user's."""

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

import lwdna
from lwdna.errors import ConfigError
from lwdna.tracking.taps import Geometry, Taps

RESNET = ("layer2", "layer3")
FIRST, LATER = ("features.3", "features.5"), ("features.denseblock2", "features.denseblock3")
TAPS = {
    "resn": RESNET,
    "wide": RESNET,
    "conv": FIRST,
    "efficientnet": FIRST,
    "dens": LATER,
    "mnas": ("layers.9", "layers.11"),
    "regn": ("trunk_output.block2", "trunk_output.block3"),
    "shuf": ("stage2", "stage3"),
    "alexnet": ("features.4", "features.11"),
    "googlenet": ("inception3b", "inception4e"),
    "inception_v3": ("Mixed_5d", "Mixed_6e"),
    "mobilenet_v2": ("features.6", "features.13"),
    "mobilenet_v3_large": ("features.6", "features.12"),
    "mobilenet_v3_small": ("features.3", "features.8"),
    "squeezenet1_0": ("features.10", "features.12"),
    "squeezenet1_1": ("features.7", "features.12"),
    "vgg11": ("features.14", "features.19"),
    "vgg11_bn": ("features.20", "features.27"),
    "vgg13": ("features.18", "features.23"),
    "vgg13_bn": ("features.26", "features.33"),
    "vgg16": ("features.22", "features.29"),
    "vgg16_bn": ("features.32", "features.42"),
    "vgg19": ("features.26", "features.35"),
    "vgg19_bn": ("features.38", "features.51"),
}
"""By the name of a network of torchvision, or how the names of a family begin."""

NO_CNN = ("vit", "swin", "maxvit")


def size_of(name):
    return torchvision.models.get_model_weights(name).DEFAULT.meta["num_params"]


def smallest_of_each_family():
    """Those of a file of torchvision differ in numbers alone, but for the ones added."""
    families = {}
    for name in sorted(torchvision.models.list_models(torchvision.models), key=size_of):
        if not name.startswith(NO_CNN):
            families.setdefault(torchvision.models.get_model_builder(name).__module__, name)
    return sorted({*families.values(), "mobilenet_v3_large", "resnet50", "vgg11_bn"})


def taps_of(name):
    return next(taps for begin, taps in reversed(TAPS.items()) if name.startswith(begin))


def made(name):
    """A network of torchvision, without data if that is possible."""
    device = "cpu" if name.startswith("regnet") else "meta"
    auxiliary = name in {"googlenet", "inception_v3"}
    with torch.device(device):
        options = {"init_weights": False} if auxiliary else {}
        return torchvision.models.get_model(name, weights=None, **options)


@pytest.mark.parametrize("name", smallest_of_each_family())
def test_every_family_of_cnns_of_torchvision(name):
    taps = Taps(made(name), taps_of(name), 288)
    assert (taps.fine.stride, taps.coarse.stride) == (8, 16)
    unpadded = name in {"alexnet", "inception_v3", "squeezenet1_0", "squeezenet1_1"}
    assert 33 <= taps.fine.cells <= 35 if unpadded else taps.fine.cells == 36
    assert 16 <= taps.coarse.cells <= 17 if unpadded else taps.coarse.cells == 18
    assert taps.coarse.channels >= 20


def test_maps_are_those_of_the_network():
    """Beside torchvision's own way, which follows the source of a network."""
    network = torchvision.models.resnet18(weights=None).eval()
    images = torch.randn(2, 3, 96, 96)
    theirs = create_feature_extractor(network, {"layer2": "fine", "layer3": "coarse"})(images)
    fine, coarse = Taps(network, RESNET, 96)(images)
    assert torch.equal(fine, theirs["fine"])
    assert torch.equal(coarse, theirs["coarse"])


def test_a_shrunk_network_from_its_file(tmp_path):
    network = lwdna.build("ResNet14", width=2)
    x = torch.randn(2, 3, 32, 32)
    shrunk = lwdna.shrink(
        network, x, None, flops_ratio=0.4, rho=0.1, tau=0.2, criterion="magnitude"
    )
    shrunk.save(tmp_path / "small.safetensors")
    taps = Taps(lwdna.load(tmp_path / "small.safetensors"), ("stages.1", "stages.2"), 72)
    fine, coarse = taps(torch.randn(2, 3, 72, 72))
    assert taps.fine == Geometry(fine.shape[1], 2, 36)
    assert taps.coarse == Geometry(coarse.shape[1], 4, 18)
    assert fine.shape[1] < 64
    assert not any(p.requires_grad for p in taps.network.classifier.parameters())


def test_what_comes_after_is_neither_run_nor_trained():
    network = lwdna.build("ResNet50")
    network.layer4.register_forward_hook(lambda *_: pytest.fail("layer4 is run"))
    taps = Taps(network, RESNET, 64)
    sum(m.sum() for m in taps(torch.randn(2, 3, 64, 64))).backward()
    for name, parameter in network.named_parameters():
        used = not name.startswith(("layer4", "fc"))
        assert parameter.requires_grad == used, name
        assert (parameter.grad is not None) == used, name
    assert not any(module._forward_hooks for module in network.layer3.modules())


class Own(nn.Module):
    """Of a user, who looks at values, as cannot be done without data."""

    def __init__(self, layers=2, stride=4):
        super().__init__()
        self.first = nn.Conv2d(3, 5, 3, stride, 1)
        self.second = nn.Sequential(*[nn.Conv2d(5, 5, 3, 2, 1) for _ in range(layers - 1)])
        self.flat = nn.Flatten()
        self.after = nn.ReLU(inplace=True)
        self.idle = nn.Linear(2, 2)

    def forward(self, x):
        x = self.first(x if x.sum() < 1e9 else -x)
        self.after(x) if getattr(self, "overwrites", False) else None
        return self.flat(self.second(x))


def test_a_module_of_a_user():
    taps = Taps(Own(), ("first", "second"), 64)
    assert taps.fine == Geometry(5, 4, 16)
    assert taps.coarse == Geometry(5, 8, 8)
    assert not taps.network.idle.weight.requires_grad


@pytest.mark.parametrize(
    ("taps", "options", "sentence"),
    [
        (("first", "third"), {}, "'third' is no layer of Own; its layers at the top are first, se"),
        (("first", ""), {}, "'' is no layer of Own"),
        (("first", "flat"), {}, r"'flat' gives a Tensor of shape \(1, 320\).*no map of features"),
        (("first", "idle"), {}, "'idle' is not run by Own"),
        (("first", "second"), {"layers": 3}, "strides 4 and 16; the second must be twice"),
        (("second", "first"), {}, "strides 8 and 4; the second must be twice"),
        (("first", "first"), {}, "strides 4 and 4"),
        (("first", "second"), {"stride": 7}, "a size that these divide"),
    ],
)
def test_taps_that_do_not_fit(taps, options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        Taps(Own(**options), taps, 64)


def test_a_map_that_is_overwritten_is_no_tap():
    network = Own()
    network.overwrites = True
    with pytest.raises(ConfigError, match="overwrites in place"):
        Taps(network, ("first", "second"), 64)


@pytest.mark.parametrize(
    ("name", "taps", "sentence"),
    [
        ("vit_b_16", ("encoder.layers.encoder_layer_3", "encoder.ln"), "cannot be run on images"),
        ("swin_t", ("features.3", "features.5"), "36 x 192 cells"),
    ],
)
def test_networks_without_maps(name, taps, sentence):
    with pytest.raises(ConfigError, match=sentence):
        Taps(made(name), taps, 288)


def test_a_network_that_cannot_run_is_said():
    with pytest.raises(ConfigError, match=r"cannot be run on images of \(B, 3, 64, 64\)"):
        Taps(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3)), ("0", "1"), 64)


def test_channels_last_images_of_narrow_networks_train():
    """This crashed the process on some CPUs: a 1 x 1 convolution of stride 2, of few channels."""
    taps = Taps(lwdna.build("ResNet14", width=0.5), ("stages.1", "stages.2"), 72)
    images = torch.randn(2, 3, 72, 72).to(memory_format=torch.channels_last)
    fine, coarse = taps(images)
    (fine.sum() + coarse.sum()).backward()
    assert fine.is_contiguous()
