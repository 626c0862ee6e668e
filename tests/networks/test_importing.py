"""Weights of other programs: read into a network, or it is said what has no place."""

import json
import re

import pytest
import torch
from running import lwdna as run
from safetensors.torch import save_file

import lwdna
from lwdna.networks.provenance import provenance_of

NETWORK = {"name": "DnCNN", "options": {"blocks": 3, "channels": 4}}
TASK = {"kind": "denoising", "sigma": 50}


@pytest.fixture
def model(scramble):
    return scramble(lwdna.build("DnCNN", **NETWORK["options"])).eval()


def saved(state, path):
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return path


FORMS = {
    "alone": lambda state: state,
    "of nn.DataParallel": lambda state: {f"module.{name}": t for name, t in state.items()},
    "a part": lambda state: {"epoch": 3, "state_dict": state, "best": [1.0]},
    "half precision": lambda state: {
        n: t.half() if t.is_floating_point() else t for n, t in state.items()
    },
    "without counters": lambda state: {n: t for n, t in state.items() if "num_batches" not in n},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
def test_weights_are_taken_as_they_are_saved(form, suffix, model, tmp_path):
    state = FORMS[form](model.state_dict())
    if form == "a part" and suffix == ".safetensors":
        return
    path = saved(state, tmp_path / f"theirs{suffix}")
    output = tmp_path / "ours.safetensors"
    status, text = run(
        *("import", path, "--network", json.dumps(NETWORK), "--output", output),
        *("--task", json.dumps(TASK)),
    )
    assert status == 0, text
    found = lwdna.load(output)
    x = torch.rand(1, 1, 20, 20)
    tolerance = 1e-2 if form == "half precision" else 0
    torch.testing.assert_close(found(x), model(x), rtol=tolerance, atol=tolerance)
    trained = provenance_of(found).trained
    assert trained.task == TASK and trained.source == {"by": "lwdna import", "file": path.name}
    assert lwdna.Predictor.load(output)(torch.rand(1, 9, 9) * 255).shape == (9, 9)


def changed(state):
    """A tensor with another name, one of another shape, one too many, and one too few."""
    names = list(state)
    state = dict(state)
    state["body.0.weight_"] = state.pop(names[0])
    state[names[-1]] = torch.zeros(7)
    state["extra"] = torch.zeros(2, 3)
    return state


def test_names_that_do_not_fit_are_listed_nearest_first(model, tmp_path):
    names = list(model.state_dict())
    path = saved(changed(model.state_dict()), tmp_path / "theirs.pt")
    status, text = run("import", path, "--network", json.dumps(NETWORK))
    assert status == 1 and "Traceback" not in text
    (line,) = [line for line in text.splitlines() if "ERROR" in line]
    assert f"2 of the network's {len(names)} tensors are not in it, and 3 of its" in line
    first, last = line.index(f"'{names[-1]}' ("), line.index(f"'{names[0]}' (")
    assert re.search(rf"'{re.escape(names[0])}' \(4 x 1 x 3 x 3\), nearest in the file 'body", line)
    assert first < last, "what is called the same is nearer than what is called alike"
    assert "In the file alone: 'extra' (2 x 3)." in line
    assert not (tmp_path / "theirs.safetensors").exists()


def test_another_network_is_named_in_a_few_words(model, tmp_path):
    path = saved(lwdna.build("ResNet56").state_dict(), tmp_path / "theirs.pt")
    status, text = run("import", path, "--network", json.dumps(NETWORK))
    assert status == 1 and "more" in text and len(text) < 3000


REFUSED = {
    "several": (
        {"ema": {"a": torch.zeros(1)}, "model": {"a": torch.zeros(1)}},
        (),
        "ema, model; say",
    ),
    "no part": ({"model": {"a": torch.zeros(1)}}, ("--part", "modle"), "did you mean 'model'"),
    "a list": ([torch.zeros(1)], (), "holds a list"),
    "no finite": ("nan", (), "not finite"),
    "quantised": ("quantised", (), "numbers of type torch.int8 in .*torch.float32; give weights"),
    "a damaged zip": ("damaged", (), "it is a damaged zip file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_weights_is_one_sentence(case, model, tmp_path):
    content, options, said = REFUSED[case]
    if content == "nan":
        content = {n: t * torch.nan if "weight" in n else t for n, t in model.state_dict().items()}
    if content == "quantised":
        content = {n: t.to(torch.int8) if t.dim() > 1 else t for n, t in model.state_dict().items()}
    path = saved(content, tmp_path / "theirs.pt")
    if content == "damaged":
        damaged = bytearray(path.read_bytes())
        damaged[damaged.rindex(b"PK\x01\x02")] ^= 1
        path.write_bytes(damaged)
    status, text = run("import", path, "--network", json.dumps(NETWORK), *options)
    assert status == 1 and re.search(said, text) and "Traceback" not in text, text
    assert [p.name for p in tmp_path.iterdir()] == ["theirs.pt"]


def test_nothing_is_written_over_what_is_read(model, tmp_path):
    path = saved(model.state_dict(), tmp_path / "theirs.safetensors")
    status, text = run("import", path, "--network", json.dumps(NETWORK))
    assert status == 2 and "would be written over" in text
    other, before = saved(model.state_dict(), tmp_path / "theirs.pth"), path.read_bytes()
    status, text = run("import", other, "--network", json.dumps(NETWORK))
    assert status == 2 and "is there already; name the file to write: --output" in text
    assert path.read_bytes() == before
