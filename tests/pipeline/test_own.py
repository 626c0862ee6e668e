"""Networks and losses of one's own on the command line, the files made of them, and bad input."""

import json
import sys

import pytest
import torch
from running import lwdna as command
from torch import nn

import lwdna
from lwdna.data.classification import ClassificationTrain
from lwdna.data.restoration import DenoisingTrain
from lwdna.errors import ConfigError, LwdnaError
from lwdna.networks import own
from lwdna.networks.user_code import Own
from lwdna.networks.weights import save
from lwdna.steps import _networks
from lwdna.steps._own import check_own, source_key
from lwdna.tasks.task import task_for

NET = """
import torch
from torch import nn
from torch.nn.functional import cross_entropy
{neighbour}

def make_network():
    return nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 8, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    )

def make_scaled(width=1.0, classes=5):
    n = int(8 * width)
    return nn.Sequential(nn.Conv2d(3, n, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36 * n, classes))

def loss(network):
    return cross_entropy(network(torch.randn(4, 3, 8, 8)), torch.randint(5, (4,)))

def bad_loss(network):
    return network(torch.randn(4, 1, 8, 8)).mean()

def no_network(**options):
    return 3

def fails():
    raise ValueError("no GPU here")

def stops():
    raise SystemExit(2)

layer = nn.Conv2d(3, 3, 1)
seven = 7
"""


@pytest.fixture
def net(tmp_path):
    path = tmp_path / "my.net.py"
    path.write_text(NET.format(neighbour=""))
    return path


def shrink(net, output, *arguments, function="make_network"):
    return command(
        *("shrink", f"{net}:{function}", "--input", "1x3x8x8", "--flops-ratio", 0.5),
        *("--output", output, *arguments),
    )


def refused(status_and_output, *words):
    status, output = status_and_output
    assert status == 1, output
    assert "Traceback" not in output and "should not happen" not in output
    for word in words:
        assert word in output


@pytest.mark.parametrize("how", ["import blocks", "from . import blocks", "from .blocks import A"])
def test_neighbours_of_the_file(tmp_path, how):
    (tmp_path / "blocks.py").write_text("from .deeper import A\n" if "." in how else "A = 1\n")
    (tmp_path / "deeper.py").write_text("A = 1\n")
    path = tmp_path / "net.py"
    path.write_text(NET.format(neighbour=how))
    before = list(sys.path)
    try:
        function = Own(f"{path}:make_network")
        assert isinstance(function(), nn.Module)
        assert Own(f"{path}:loss")._function.__globals__ is function._function.__globals__
    finally:
        sys.path[:] = before
        sys.modules.pop("blocks", None)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("make_netwrok", "has no function 'make_netwrok'; did you mean 'make_network'?"),
        ("seven", "has, but not as a function, 'seven'"),
        ("layer", "has, but not as a function, 'layer'"),
        ("", "does not say which function"),
    ],
)
def test_function_that_does_not_exist(net, function, words):
    with pytest.raises(ConfigError, match=words.replace("?", r"\?")):
        Own(f"{net}:{function}")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("no_network", "returned an object of type int; it must return a torch.nn.Module"),
        ("fails", r"failed at line 27 \(ValueError: no GPU here\)"),
        ("stops", "failed at line 30"),
        ("loss", r"failed \(TypeError"),
    ],
)
def test_function_that_makes_no_network(net, function, words):
    with pytest.raises(ConfigError, match=words):
        own.build(f"{net}:{function}")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("import there_is_no_such_module\n", "at line 1 .*there_is_no_such_module"),
        ("\n\ndef make_network(:\n", "cannot be imported at line 3 .SyntaxError"),
        ("import sys\nsys.exit(3)\n", "cannot be imported at line 2"),
    ],
)
def test_file_that_cannot_be_imported(tmp_path, content, words):
    path = tmp_path / "net.py"
    path.write_text(content)
    for _ in range(2):  # nothing of the first attempt may stay
        with pytest.raises(ConfigError, match=words):
            Own(f"{path}:make_network")


def test_file_that_does_not_exist(tmp_path):
    with pytest.raises(ConfigError, match=r"no file '.*net\.py'.*check the path"):
        Own(f"{tmp_path / 'net.py'}:make_network")
    (tmp_path / "net.txt").write_text("")
    with pytest.raises(ConfigError, match=r"must end in '\.py'"):
        Own(f"{tmp_path / 'net.txt'}:make_network")
    with pytest.raises(
        ConfigError, match=r"give FILE:FUNCTION, for example 'net\.py:make_network'"
    ):
        own.build("net.py")


def test_width_and_options_are_arguments_of_the_function(net):
    model = own.build(f"{net}:make_scaled", width=0.5, classes=3)
    assert model[0].out_channels == 4 and model[-1].out_features == 3
    with pytest.raises(ConfigError, match=r"no argument 'width'.* --input 1x3x32x32"):
        own.build(f"{net}:make_network", width=2.0)
    with pytest.raises(ConfigError, match=r"no argument 'width'; .* a width of 1 or more"):
        own.build(f"{net}:make_network", width=0.5)
    with pytest.raises(ConfigError, match=r"failed \(TypeError.*'depth'"):
        own.build(f"{net}:make_scaled", depth=3)
    with pytest.raises(ConfigError, match=r"'cifar10'.*leave it out"):
        own.build(f"{net}:make_scaled", dataset="cifar10")


def test_without_a_width_a_network_is_widened_by_its_channels(net, tmp_path):
    """The teacher's way, and the way back from its file."""
    wide = own.builder((torch.empty(1, 3, 8, 8),))(f"{net}:make_network", width=1.5)
    assert (wide[0].out_channels, wide[2].out_channels, wide[6].out_features) == (18, 12, 5)
    save(wide, tmp_path / "wide.safetensors")
    again = own.load(tmp_path / "wide.safetensors", f"{net}:make_network")
    assert all(map(torch.equal, again.state_dict().values(), wide.state_dict().values()))
    _, output = command("info", tmp_path / "wide.safetensors", "--network", f"{net}:make_network")
    assert "widened by 1.5, followed for inputs of 1x3x8x8" in output


def test_shrink_without_a_width(net, tmp_path):
    path = tmp_path / "small.safetensors"
    status, output = shrink(net, path, "--criterion", "magnitude", "--tau", 0.2)
    assert status == 0 and "at width 2" in output, output
    summary = json.loads(path.with_suffix(".json").read_text())
    assert summary["widened"] == [{"factor": 2.0, "inputs": [[1, 3, 8, 8]], "groups": "whole"}]
    assert summary["arguments"] == {} and summary["layers"]["0"]["before"] == 24
    own.load(path, f"{net}:make_network")
    status, output = command("export", path, "--to", "torch", "--network", f"{net}:make_network")
    assert status == 0, output


def test_shrink_info_export(net, tmp_path):
    path = tmp_path / "out" / "small.safetensors"
    options = ("--options", '{"classes": 7}', "--criterion", "magnitude", "--tau", 0.2)
    status, output = shrink(net, path, *options, function="make_scaled")
    assert status == 0 and "at width 2" in output, output
    summary = json.loads((path.parent / "small.json").read_text())
    assert summary["arguments"] == {"classes": 7, "width": 2.0}
    # Half of the network before it was widened.
    assert summary["flops"]["after"] <= 0.5 * (8 * 36 * (27 + 1) + 8 * 36 * 7)
    function = ("--network", f"{net}:make_scaled")
    for arguments in ((), function):
        status, output = command("info", path, *arguments)
        assert status == 0, output
        lines = [line.split() for line in output.splitlines()]
        after = summary["layers"]["0"]["after"]
        row = ["0", "16", str(after), f"{100 * after / 16:.1f}"]
        assert ["layer", "before", "after", "percent"] in lines and row in lines
        assert {line[0] for line in lines if line} >= {"FLOPs", "parameters", "3"}
    status, output = command("export", path, "--to", "torch", *function)
    assert status == 0 and "batch size may vary" in output, output
    program = torch.export.load(path.with_suffix(".pt2")).module()
    loaded = own.load(path, f"{net}:make_scaled").eval()
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(program(x), loaded(x), rtol=1e-4, atol=1e-5)
    # A function that makes another network.
    for step in ("info", "export"):
        extra = ("--to", "torch") if step == "export" else ()
        refused(
            command(step, path, "--network", f"{net}:no_network", *extra),
            "returned an object of type int",
        )
    refused(command("export", path, "--to", "torch"), "--network FILE:FUNCTION")
    refused(
        command("export", path, "--to", "torch", *function, "--input", "1x1x8x8"),
        "does not run on an input of 1x1x8x8",
    )


def test_networks_of_lwdna(tmp_path):
    path = tmp_path / "small.safetensors"
    status, output = command(
        *("shrink", "ResNet8", "--flops-ratio", 0.6, "--criterion", "magnitude"),
        *("--output", path),
    )
    assert status == 0, output
    status, output = command("info", path)
    assert status == 0 and output.startswith("ResNet8, dataset cifar10, width 2, {}\n"), output
    assert "layer" in output and "percent" in output
    status, output = command("export", path, "--to", "torch", "--output", tmp_path / "x.pt2")
    assert status == 0 and (tmp_path / "x.pt2").exists(), output


@pytest.mark.parametrize("start", ["generated", "rescaled", "fresh"])
def test_the_start_is_an_option(start, tmp_path):
    path = tmp_path / "small.safetensors"
    status, output = command(
        *("shrink", "ResNet8", "--flops-ratio", 0.6, "--criterion", "magnitude"),
        *("--start", start, "--output", path),
    )
    assert status == 0, output
    assert f"start {start}" in command("info", path)[1]
    status, output = command("shrink", "ResNet8", "--start", "fres", "--output", path)
    assert status == 2 and "'generated', 'rescaled', 'fresh'" in output


def test_network_that_was_not_shrunk(net, tmp_path):
    save(lwdna.build("ResNet8"), tmp_path / "ours.safetensors")
    status, output = command("info", tmp_path / "ours.safetensors")
    assert status == 0 and "parameters\nnot shrunk\n" in output
    save(own.build(f"{net}:make_network"), tmp_path / "own.safetensors")
    status, output = command("info", tmp_path / "own.safetensors")
    assert (status, output) == (0, "a network that lwdna.build did not make\nnot shrunk\n")
    with pytest.raises(ConfigError, match="--input 1x3x32x32"):
        path = tmp_path / "own.safetensors"
        _networks.example_for(own.load(path, f"{net}:make_network"), path, ())


def images(height, width, classes):
    """A training set of which only the sizes are known."""
    data = object.__new__(ClassificationTrain)
    data.shape = (height, width, classes)
    return data


def test_images_and_classes_that_do_not_fit(net):
    classes = task_for("classification")
    model = own.build(f"{net}:make_network").train()
    check_own(classes, model, images(8, 8, 5), (1, 3, 8, 8))
    check_own(classes, model, images(9, 9, 5), None)
    assert model.training
    with pytest.raises(ConfigError, match=r"1 x 3 x 8 x 8\) the network makes 1 x 5, .* 1 x 7;"):
        check_own(classes, model, images(8, 8, 7), (1, 3, 8, 8))
    with pytest.raises(ConfigError, match=r"input is 3 x 9 x 9, .* images are 3 x 8 x 8"):
        check_own(classes, model, images(8, 8, 5), (1, 3, 9, 9))
    fixed = own.build(f"{net}:make_scaled")
    with pytest.raises(ConfigError, match=r"does not run on an image \(1 x 3 x 9 x 9\): Runtime"):
        check_own(classes, fixed, images(9, 9, 5), None)
    check_own(classes, lwdna.build("ResNet8"), images(9, 9, 5), None)


def test_patches_that_do_not_fit(net):
    class Patches(DenoisingTrain):
        def __init__(self, channels):
            self.patch_size = 8
            self.patch = torch.zeros(channels, 8, 8)

        def __getitem__(self, key):
            return self.patch, self.patch

    denoising = task_for("denoising")
    net.write_text(net.read_text() + "def same(): return nn.Conv2d(1, 1, 3, padding=1)\n")
    check_own(denoising, own.build(f"{net}:same"), Patches(1), None)
    with pytest.raises(ConfigError, match=r"does not run on an image \(1 x 3 x 8 x 8\)"):
        check_own(denoising, own.build(f"{net}:same"), Patches(3), None)
    with pytest.raises(ConfigError, match=r"makes 1 x 5, but the task needs 1 x 3 x 8 x 8"):
        check_own(denoising, own.build(f"{net}:make_network"), Patches(3), None)


def test_a_changed_file_is_another_training(net):
    before = source_key(f"{net}:make_network")
    net.write_text(net.read_text() + "A = 1\n")
    assert before and source_key(f"{net}:make_network") != before
    assert source_key("ResNet8") == source_key("") == {}


def test_bad_input(net, tmp_path):
    path = tmp_path / "small.safetensors"
    refused(
        shrink(net, path), "gradient' needs one", "--loss FILE:FUNCTION", "--criterion magnitude"
    )
    warm = ("--criterion", "magnitude", "--warmup-steps", 1)
    refused(shrink(net, path, *warm), "warm-up (warmup_steps is 1)", "by --warmup-steps 0")
    for factor in (0, 0.5, "nan"):
        status, output = shrink(net, path, "--widen", factor)
        assert status == 2 and "--widen" in output and "Traceback" not in output
    refused(shrink(net, path, "--loss", f"{net}:bad_loss"), "bad_loss' failed at line 21")
    refused(shrink(net, path, "--width", 0.25, "--criterion", "magnitude"), "no argument 'width'")
    refused(
        command("shrink", f"{net}:make_network", "--flops-ratio", 0.5, "--output", path),
        "give its shape, for example --input 1x3x32x32",
    )
    (tmp_path / "file").touch()
    refused(
        shrink(net, tmp_path / "file/x.safetensors", "--criterion", "magnitude"), "Cannot write"
    )
    wrong = ("--input", "1x1x8x8", "--flops-ratio", 0.5, "--output", path)
    refused(command("shrink", f"{net}:make_network", *wrong), "does not run on an input of shape")
    assert not path.exists()


def test_usage_errors(net, tmp_path):
    for arguments, words in (
        (("export", tmp_path / "x", "--to", "tflite"), "'tflite' is not one of 'onnx', 'torch'"),
        (("export", tmp_path / "x"), "Missing option '--to'"),
        (("explain", f"{net}:make_network", "--input", "3,8,8"), "'3,8,8' is not a shape"),
        (("explain", f"{net}:make_network", "--input", "1x3x0"), "'1x3x0' is not a shape"),
    ):
        status, output = command(*arguments)
        assert status == 2 and words in output, output


@pytest.mark.parametrize("step", ["info", "export"])
def test_damaged_file(tmp_path, step):
    extra = ("--to", "torch") if step == "export" else ()
    path = tmp_path / "x.safetensors"
    refused(command(step, path, *extra), "no weights file")
    path.write_bytes(b"hello")
    refused(command(step, path, *extra), "is not a whole safetensors file")


def test_a_line_in_a_folder_called_torch_is_named(tmp_path):
    path = tmp_path / "torch/net.py"
    path.parent.mkdir()
    path.write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def forward(self, x):\n"
        "        return x if x.sum() > 0 else -x\n"
        "def make_network():\n"
        "    return Net()\n"
    )
    arguments = (f"{path}:make_network", "--input", "1x3x8x8")
    refused(command("explain", *arguments), f"{path}:4")
    ratio = ("--flops-ratio", 0.5, "--criterion", "magnitude")
    refused(
        command("shrink", *arguments, *ratio, "--output", tmp_path / "x.safetensors"),
        f"cannot be counted at {path}:4",
    )


def test_an_error_of_lwdna_in_a_function_passes(tmp_path):
    path = tmp_path / "net.py"
    path.write_text("import lwdna\ndef make_network():\n    return lwdna.build('ResNet9')\n")
    with pytest.raises(LwdnaError, match="no network 'ResNet9'"):
        own.build(f"{path}:make_network")
