"""An exported file computes what the network computes, or there is none."""

import json
import sys

import pytest
import torch
from torch import nn

import lwdna
from lwdna import export as export_function
from lwdna.errors import ConfigError, LwdnaError
from lwdna.graph.complexity import complexity
from lwdna.networks.build import build

exporter = sys.modules["lwdna.networks.export"]

NETWORKS = {
    "ResNet14": ({"width": 0.5}, (1, 3, 16, 16)),
    "MobileNetV1": ({"dataset": "cifar10", "blocks": ((24, 1), (32, 2))}, (1, 3, 8, 8)),
    "DnCNN": ({"width": 0.25, "blocks": 3}, (1, 1, 12, 12)),
    "U-Net": ({"width": 0.25, "depth": 3}, (1, 1, 16, 16)),
    "EDSR": ({"width": 0.125, "blocks": 2}, (1, 3, 8, 8)),
    "SRResNet": ({"width": 0.25, "blocks": 2}, (1, 3, 8, 8)),
}
OF_ONE_SIZE = ("ResNet14", "MobileNetV1")


@pytest.fixture(params=["onnx", "torch"])
def to(request):
    if request.param == "onnx":
        for package in ("onnx", "onnxscript", "onnxruntime"):
            pytest.importorskip(package)
    return request.param


def outputs(path, to, x):
    """What a program without lwdna computes from the file."""
    if to == "torch":
        return torch.export.load(path).module()(x)
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    return torch.from_numpy(session.run(None, {"input": x.numpy()})[0])


@pytest.mark.parametrize("name", NETWORKS)
def test_shrunk_networks(name, to, tmp_path, scramble, snapshot):
    options, shape = NETWORKS[name]
    varying = "batch size" if name in OF_ONE_SIZE else "batch size, height and width"
    wide, x = build(name, **options), torch.empty(shape)
    target = 0.6 * complexity(wide, x)[0]
    result = lwdna.shrink(wide, x, None, target_flops=target, criterion="magnitude", rho=0.1)
    small = scramble(result.model).train()
    before = snapshot(small)
    path = tmp_path / "new folder" / "small.bin"
    assert export_function(small, x, path, to=to) == varying
    snapshot.compare(small, before)
    assert small.training
    sizes = [shape, (5, *shape[1:])]
    if "height" in varying:
        sizes.append((2, shape[1], 24, 32))
    small.eval()
    for size in sizes:
        images = torch.randn(size)
        with torch.no_grad():
            expected = small(images)
        found = outputs(path, to, images)
        assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert [p.name for p in path.parent.iterdir()] == ["small.bin"]


class Fixed(nn.Module):
    """Does something else with one image than with several, which no single program can."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.conv(x).flatten(1) * (2 if len(x) == 1 else 1)


class Two(Fixed):
    def forward(self, x, y):
        return {"sum": self.conv(x) + self.conv(y), "first": self.conv(x)}


class Untraceable(Fixed):
    def forward(self, x):
        return self.conv(x) * float(x.sum().numpy())


def test_what_cannot_vary_is_said(to, tmp_path):
    path = tmp_path / f"x{exporter.SUFFIXES[to]}"
    assert lwdna.export(Fixed().eval(), torch.empty(1, 3, 8, 8), path) == "nothing"
    assert outputs(path, to, torch.randn(1, 3, 8, 8)).shape == (1, 144)


def test_several_inputs_and_outputs(to, tmp_path):
    x = torch.empty(1, 3, 8, 8)
    assert lwdna.export(Two(), (x, x), tmp_path / "x", to=to) == "batch size"


def test_network_that_cannot_be_exported(to, tmp_path):
    with pytest.raises(LwdnaError, match=r"Untraceable cannot be exported to '.*x'"):
        lwdna.export(Untraceable(), torch.empty(1, 3, 8, 8), tmp_path / "x", to=to)
    assert not list(tmp_path.iterdir())


def test_a_file_that_computes_something_else_is_not_kept(to, tmp_path, monkeypatch):
    decode = exporter._decode

    def slightly_wrong(content, to):
        run = decode(content, to)
        return lambda inputs: [x + 3e-5 * x.abs().max() for x in run(inputs)]

    path = tmp_path / "x"
    path.write_bytes(b"an older file")
    monkeypatch.setattr(exporter, "_decode", slightly_wrong)
    with pytest.raises(LwdnaError, match=r"differ from that of the network by .*e-0\d"):
        lwdna.export(build("ResNet8"), torch.empty(1, 3, 8, 8), path, to=to)
    assert path.read_bytes() == b"an older file" and len(list(tmp_path.iterdir())) == 1


def test_output_that_is_not_finite(tmp_path):
    model = build("ResNet8")
    with torch.no_grad():
        model.stem[0].weight.fill_(float("nan"))
    with pytest.raises(LwdnaError, match="not finite"):
        lwdna.export(model, torch.empty(1, 3, 8, 8), tmp_path / "x.pt2")


@pytest.mark.parametrize(
    ("name", "shape"), [("ResNet8", (1, 1, 16, 16)), ("ResNet8", (1, 3)), ("U-Net", (1, 1, 17, 16))]
)
def test_input_that_the_network_does_not_accept(tmp_path, name, shape):
    given = "x".join(map(str, shape))
    with pytest.raises(ConfigError, match=f"does not run on an input of {given}"):
        lwdna.export(build(name, width=0.25), torch.empty(shape), tmp_path / "x.pt2")


def test_formats(tmp_path):
    model, x = build("ResNet8"), torch.empty(1, 3, 8, 8)
    with pytest.raises(ConfigError, match=r"end in '\.onnx' or '\.pt2'"):
        lwdna.export(model, x, tmp_path / "x.tflite")
    with pytest.raises(ConfigError, match="'onxx'; did you mean 'onnx'"):
        lwdna.export(model, x, tmp_path / "x", to="onxx")


def test_missing_packages(tmp_path, monkeypatch):
    find = exporter.importlib.util.find_spec
    monkeypatch.setattr(
        exporter.importlib.util, "find_spec", lambda name: None if "onnx" in name else find(name)
    )
    with pytest.raises(LwdnaError, match="pip install onnx onnxscript onnxruntime"):
        lwdna.export(build("ResNet8"), torch.empty(1, 3, 8, 8), tmp_path / "x.onnx")


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LwdnaError, match=r"Cannot write '.*x\.pt2'"):
        lwdna.export(build("ResNet8"), torch.empty(1, 3, 8, 8), tmp_path / "file" / "x.pt2")


def test_nothing_is_said(to, tmp_path, capfd, caplog, recwarn):
    lwdna.export(build("ResNet8"), torch.empty(1, 3, 8, 8), tmp_path / "x", to=to)
    said, records = capfd.readouterr(), [r for r in caplog.records if r.levelname != "DEBUG"]
    assert (said.out, said.err, records, len(recwarn)) == ("", "", [], 0)


def test_what_a_network_was_trained_for_goes_with_it(to, tmp_path):
    task = {"kind": "denoising", "sigma": 25}
    lwdna.save(build("DnCNN", blocks=1, channels=2), tmp_path / "x.safetensors", task=task)
    path = tmp_path / "x.bin"
    model = lwdna.load(tmp_path / "x.safetensors")
    export_function(model, torch.empty(1, 1, 8, 8), path, to=to)
    if to == "torch":
        found = dict.fromkeys(("task.json", "takes.json"), "")
        torch.export.load(path, extra_files=found)
        said = {name.removesuffix(".json"): text for name, text in found.items()}
    else:
        import onnx

        said = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert json.loads(said["task"]) == task
    assert json.loads(said["takes"]) == {"channels": 1, "range": [0, 255], "sigma": 25}
