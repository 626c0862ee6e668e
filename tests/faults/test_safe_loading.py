"""Files that mean harm do none: one sentence, no code run, memory bounded."""

import ast
import io
import json
import resource
import struct
import subprocess
import sys
import zlib

import click
import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from running import ROOT, TINY
from safetensors.torch import save_file

import lwdna as package
from lwdna.config.check import check
from lwdna.data.images import read_image
from lwdna.data.stores import Store
from lwdna.errors import CheckpointError, ConfigError, DataError
from lwdna.io.hdf5 import create_store
from lwdna.networks import weights
from lwdna.networks.sealed import seal
from lwdna.networks.weights import save
from lwdna.steps._json import Json
from lwdna.training.checkpoints import FORMAT, VERSION, _checksum
from lwdna.training.checkpoints import load as load_checkpoint

MEMORY = 3 * 2**30
"""Address space above what PyTorch and its libraries take when they are imported, in bytes."""

FORBIDDEN = {
    # Name of a module or of what is called, and where it may be used all the same.
    "pickle": set(),
    "cPickle": set(),
    "dill": set(),
    "joblib": set(),
    "marshal": set(),
    "shelve": set(),
    "torch.load": set(),
    "torch.jit.load": set(),
    # It reads back what it has just written, to check it.
    "torch.export.load": {"networks/export.py"},
    "torch.hub.load": set(),
    "np.load": set(),
    "numpy.load": set(),
    "pd.read_pickle": set(),
    "pandas.read_pickle": set(),
    "yaml.load": set(),
    "yaml.unsafe_load": set(),
    "yaml.full_load": set(),
    "eval": set(),
    "exec": set(),
    "compile": set(),
    "__import__": set(),
    "os.system": set(),
    "os.popen": set(),
    # A file that the user names on the command line is run; nothing that is read as data is.
    "spec.loader.exec_module": {"networks/user_code.py"},
    # These import modules of the package, by names of its own tables.
    "import_module": {
        "__init__.py",
        "__main__.py",
        "io/homes.py",
    },
    # Stores are opened where they are checked.
    "h5py.File": {"data/stores.py", "io/hdf5.py"},
    "safe_open": {"io/tensors.py"},
    "Image.open": {"data/images.py"},
}
MAY_UNPICKLE = {"data/cifar.py"}
"""Modules that may read the pickles of a data set, after its checksum."""


def uses(tree):
    """Every module imported and every function called, by its dotted name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call):
            yield ast.unparse(node.func)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "lwdna").rglob("*.py")), ids=lambda p: p.relative_to(ROOT).as_posix()
)
def test_nothing_that_runs_code_from_a_file_is_used(path):
    name = path.relative_to(ROOT / "lwdna").as_posix()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = {
        use
        for use in uses(tree)
        if use in FORBIDDEN and name not in FORBIDDEN[use] and name not in MAY_UNPICKLE
    }
    assert not found, f"{name} uses {found}"
    options = [word.arg for node in ast.walk(tree) for word in getattr(node, "keywords", [])]
    assert not {"allow_pickle", "shell"} & set(options)


def bounded(code, *arguments):
    """Run Python code in a process whose memory is limited: exit status and what it said."""
    begin = "import resource, sys, lwdna.data.images; "
    begin += "import torch, torchvision; " if "lwdna.load" in code else ""
    begin += "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize(); "
    begin += f"resource.setrlimit(resource.RLIMIT_AS, (used + {MEMORY},) * 2)\n"
    done = subprocess.run(
        [sys.executable, "-c", begin + code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


LOAD = """
import lwdna
from lwdna.errors import LwdnaError
for path in sys.argv[1:]:
    try:
        lwdna.load(path)
    except LwdnaError as error:
        print("refused:", error)
"""


def craft(path, header, data=b"\0" * 64):
    """A safetensors file with any header."""
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)
    return path


def network(path, tensors=None, **changes):
    """A weights file with a right seal that says whatever is wanted."""
    about = {
        "format": "lwdna-network",
        "version": weights.VERSION,
        "network": {"name": "EDSR", "dataset": None, "width": 1.0, "options": {}},
        "kept": None,
        "shrinkage": None,
        "arguments": {},
        "modules": "0",
    }
    tensors = tensors or {"weight": torch.zeros(3)}
    about |= changes
    about["digest"] = seal(about, tensors)
    save_file(tensors, path, {"lwdna": json.dumps(about)})
    return path


def spec(name="EDSR", dataset=None, width=1.0, **options):
    return {"name": name, "dataset": dataset, "width": width, "options": options}


def test_crafted_weights_end_in_a_sentence_within_bounded_memory(tmp_path):
    """All of them in one process, which would keep what one of them took."""
    huge = tmp_path / "length.safetensors"
    huge.write_bytes(struct.pack("<Q", 2**63) + b"{}")
    shape = {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 64]}
    nothing = {"dtype": "F32", "shape": [2**62, 0], "data_offsets": [0, 0]}
    odd = {"dtype": "F8_E8M0", "shape": [64], "data_offsets": [0, 64]}
    deep = json.dumps({"__metadata__": {"lwdna": "[" * 10**6}})
    many = json.dumps({"__metadata__": {"lwdna": "[" + "[]," * 4 * 10**6 + "[]]"}})
    long = b'{"__metadata__":{"lwdna":"' + b" " * (20 * 2**20) + b'"}}'
    paths = [
        huge,
        craft(tmp_path / "shape.safetensors", {"x": shape}),
        craft(tmp_path / "nothing.safetensors", {"x": nothing}, b""),
        craft(tmp_path / "type.safetensors", {"x": odd}),
        craft(tmp_path / "deep.safetensors", deep.encode(), b""),
        craft(tmp_path / "many.safetensors", many.encode(), b""),
        craft(tmp_path / "long.safetensors", long, b""),
        craft(tmp_path / "header.safetensors", b"[" * 10**6, b""),
        network(tmp_path / "blocks.safetensors", network=spec(blocks=10**9)),
        network(tmp_path / "channels.safetensors", network=spec(channels=10**18)),
        network(tmp_path / "wide.safetensors", network=spec(width=1e300)),
        network(tmp_path / "infinite.safetensors", network=spec(width=float("inf"))),
        network(tmp_path / "depth.safetensors", network=spec("U-Net", depth=10**9)),
        network(tmp_path / "dncnn.safetensors", network=spec("DnCNN", blocks=10**9)),
        network(
            tmp_path / "classes.safetensors",
            network=spec("ResNet56", "cifar10", num_classes=10**18),
        ),
        network(tmp_path / "module.safetensors", network=spec("os:system")),
        network(tmp_path / "file.safetensors", network=spec(f"{tmp_path}/evil.py:run")),
        network(tmp_path / "kept.safetensors", kept={"x": [1]}, shrinkage={"settings": 3}),
    ]
    (tmp_path / "evil.py").write_text("open('/tmp/never', 'w')\ndef run(**_): raise SystemExit(9)")
    status, output = bounded(LOAD, *paths)
    lines = output.splitlines()
    assert status == 0 and len(lines) == len(paths), output
    for path, line in zip(paths, lines, strict=True):
        assert line.startswith("refused: ") and str(path) in line and len(line) < 1000


@pytest.mark.parametrize("state", ["[]", "{", "7", '{"key": 3}', "[" * 10**5, '{"optimizer": []}'])
def test_crafted_checkpoints_end_in_a_sentence(tmp_path, state):
    path = tmp_path / "checkpoint.safetensors"
    tensors = {"no dot": torch.zeros(2)}
    metadata = {"format": FORMAT, "version": VERSION, "state": state}
    save_file(tensors, path, metadata | {"checksum": _checksum(state, tensors)})
    with pytest.raises(CheckpointError, match="move it away"):
        load_checkpoint(path)


def test_any_changed_byte_of_a_weights_file_is_noticed(tmp_path):
    path = tmp_path / "weights.safetensors"
    save(package.build("DnCNN", blocks=1, channels=2), path)
    whole = path.read_bytes()
    for at in range(0, len(whole), 3):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(CheckpointError, match=r"weights\.safetensors"):
            package.load(path)


PIXELS = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "s.h5"
    tables = {"labels": np.array([0, 1, 0, 1], dtype="<i8"), "classes": ["cat", "dog"]}
    with create_store(path, images={"images": PIXELS.shape}, tables=tables, attributes={}) as out:
        for index, item in enumerate(PIXELS):
            out.put("images", index, item)
    return path


def replaced(file, name, **how):
    del file[name]
    file.create_dataset(name, **how)


def virtual(file):
    layout = h5py.VirtualLayout(PIXELS.shape, "u1")
    layout[:] = h5py.VirtualSource("other.h5", "images", PIXELS.shape)
    del file["images"]
    file.create_virtual_dataset("images", layout)


def external(file):
    replaced(
        file, "images", shape=PIXELS.shape, dtype="u1", external=[("/etc/passwd", 0, PIXELS.size)]
    )


def linked(link):
    def change(file):
        del file["images"]
        file["images"] = link

    return change


def with_attribute(file):
    file["images"].attrs["note"] = "of variable length"


CRAFTED = {
    "a link to another file": linked(h5py.ExternalLink("other.h5", "/images")),
    "a link out of the file": linked(h5py.SoftLink("/crc32/../nowhere")),
    "a link within": linked(h5py.SoftLink("/labels")),
    "data of another file": external,
    "virtual data": virtual,
    "space that is not there": lambda f: replaced(
        f, "images", shape=(2**40, 480, 480, 3), dtype="u1"
    ),
    "chunks of nothing": lambda f: replaced(
        f, "images", shape=(2**40, 480, 480, 3), dtype="u1", chunks=(1, 8, 8, 3)
    ),
    "compressed": lambda f: replaced(f, "images", data=PIXELS, compression="gzip"),
    "text of variable length": lambda f: replaced(f, "classes", data=["cat", "dog"]),
    "objects": lambda f: replaced(f, "labels", data=[f.ref] * 4, dtype=h5py.ref_dtype),
    "a group": lambda f: (f.__delitem__("labels"), f.create_group("labels")),
    "an attribute of variable length": with_attribute,
}


@pytest.mark.parametrize("craft", CRAFTED)
def test_crafted_stores_are_refused_before_they_are_read(tmp_path, store, craft):
    other = tmp_path / "other.h5"
    other.write_bytes(store.read_bytes())
    with h5py.File(store, "r+") as file:
        CRAFTED[craft](file)
    with pytest.raises(DataError, match=r"s\.h5' is truncated or damaged .*delete it"):
        Store(store)


@pytest.mark.parametrize("held", [True, False])
def test_any_changed_byte_of_a_store_is_noticed_or_means_nothing(store, held):
    whole = store.read_bytes()
    noticed = 0
    for at in range(0, len(whole), 17 if held else 23):
        store.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        try:
            found = Store(store)
            found.hold(2**20 if held else 0)
            pixels = np.stack([found.read("images", i, (0, 0, 8, 8)) for i in range(4)])
        except DataError:
            noticed += 1
        else:
            np.testing.assert_array_equal(pixels, PIXELS)
            assert found.labels.tolist() == [0, 1, 0, 1] and found.classes == ("cat", "dog")
        finally:
            store.write_bytes(whole)
    assert noticed > 30


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, *chunks):
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IEND", b"")


def tiff(*entries, more=b""):
    body = struct.pack("<H", len(entries))
    body += b"".join(struct.pack("<HHII", *entry) for entry in entries) + struct.pack("<I", 8)
    return b"II*\0\x08\0\0\0" + body + more  # its next page is itself, without end


def images(tmp_path):
    zeros = zlib.compress(bytes(10**7), 9)
    plain = io.BytesIO()
    Image.fromarray(PIXELS[0]).save(plain, "TIFF")
    tags = [(256, 4, 1, 60000), (257, 4, 1, 60000), (258, 3, 1, 8), (259, 3, 1, 1)]
    tags += [(262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, 60000)]
    return {
        "bomb.png": png(60000, 60000, chunk(b"IDAT", zeros)),
        "text.png": png(8, 8, chunk(b"zTXt", b"x\0\0" + zeros), chunk(b"IDAT", zeros)),
        "profile.png": png(8, 8, chunk(b"iCCP", b"x\0\0" + zeros), chunk(b"IDAT", b"")),
        "short.png": png(8, 8, chunk(b"IDAT", zlib.compress(b"12"))),
        "bomb.tif": tiff(*tags, (279, 4, 1, 2**32 - 1)),
        "endless.tif": tiff((256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 1, 8)),
        "half.tif": plain.getvalue()[:-40],
        "program.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(x) run\n",
        "program.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(x) run\n",
    }


READ = """
from lwdna.data.images import read_image
from lwdna.errors import LwdnaError
for path in sys.argv[1:]:
    try:
        read_image(path)
    except LwdnaError as error:
        print("refused:", error)
"""


def test_crafted_images_end_in_a_sentence_within_bounded_memory(tmp_path):
    paths = []
    for name, data in images(tmp_path).items():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(data)
    status, output = bounded(READ, *paths)
    lines = output.splitlines()
    assert status == 0 and len(lines) == len(paths), output
    assert all(str(p) in line for p, line in zip(paths, lines, strict=True))


def test_a_file_that_is_no_image_is_not_given_to_programs(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n")
    with pytest.raises(DataError, match="not an image"):
        read_image(path)


SCHEMA = ROOT / "config/schema.yaml"


def laughs(levels=60):
    """Lists of lists of lists, a few lines as YAML and 2 to the 60 words without aliases."""
    value = ["ha", "ha"]
    for _ in range(levels):
        value = [value, value]
    return value


def test_an_endless_configuration_is_refused_at_once():
    config = {"datasets": {}, "protocols": {}, "experiments": {}}
    with pytest.raises(ConfigError, match="aliases"):
        check(config | {"seeds": laughs()}, SCHEMA)
    own = []
    own.append(own)
    with pytest.raises(ConfigError, match="contains itself"):
        check(config | {"seeds": own}, SCHEMA)


@pytest.mark.parametrize(
    "text", ["!!python/object/apply:os.system ['x']", "[" * 5000, "2020-99-99", "{a: &a [*a]}"]
)
def test_text_where_a_number_belongs_is_not_run_as_yaml(text):
    with pytest.raises(ConfigError, match="seeds"):
        check({"datasets": {}, "protocols": {}, "experiments": {}, "seeds": text}, SCHEMA)


def run_with(tmp_path, text):
    """Snakemake, dry, with a configuration file of this text, and its memory limited."""
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return subprocess.run(
        [
            *(sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "-n"),
            *("--configfile", path, "--directory", tmp_path, "--workflow-profile"),
            ROOT / "profiles/default",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (2 * 2**30,) * 2),
    )


def test_crafted_yaml_is_refused_by_the_workflow(tmp_path):
    harmless = TINY.read_text()
    levels = "\n".join(f"  - &l{i} [*l{i - 1}, *l{i - 1}, *l{i - 1}]" for i in range(1, 40))
    bomb = f"bomb:\n  - &l0 [ha, ha]\n{levels}\n"
    done = run_with(tmp_path, harmless + bomb)
    assert done.returncode != 0 and "aliases" in done.stdout, done.stdout[-2000:]
    tag = f"evil: !!python/object/apply:os.mkdir ['{tmp_path}/made']\n"
    done = run_with(tmp_path, harmless + tag)
    assert done.returncode != 0 and "not valid JSON or YAML" in done.stdout, done.stdout[-2000:]
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("text", ["[" * 50000, '{"a":' * 50000, "1" * 5000, "[1]"])
def test_json_that_is_none_is_a_usage_error(text):
    with pytest.raises(click.BadParameter, match="JSON") as caught:
        Json().convert(text, None, None)
    assert len(str(caught.value)) < 500
