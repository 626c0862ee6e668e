"""A conda channel made from the packages of the running Python, as links to their files."""

import bz2
import hashlib
import io
import json
import platform
import sys
import tarfile
from collections import defaultdict
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from rattler import Subdir

CONDA_NAMES = {
    "lightning-fabric": "pytorch-lightning",  # which carries the module lightning_fabric, too
    "matplotlib": "matplotlib-base",
    "torch": "pytorch",
}
"""By name on PyPI the name on conda-forge, where they differ."""

SITE = "lib/python{}.{}/site-packages".format(*sys.version_info[:2])


def conda_name(name):
    """What conda-forge calls a package of PyPI."""
    return CONDA_NAMES.get(canonicalize_name(name), canonicalize_name(name))


def installed():
    """By name on conda-forge what is installed where the running Python looks."""
    found = list(metadata.distributions())
    return {conda_name(one.name): one for one in reversed(found)}  # the first one is imported


def requirements(distribution, extras=("",)):
    """The packages that a distribution needs here, with some of its extras."""
    for requirement in map(Requirement, distribution.requires or []):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
            yield conda_name(requirement.name)
            if requirement.extras:
                needed = installed()[conda_name(requirement.name)]
                yield from requirements(needed, requirement.extras)


def make_channel(folder, wanted):
    """Make a channel in a folder, of some packages and all that they need.

    A package holds nothing but links to what pip installed of it here, so that an environment made
    of some packages has those and no others.
    """
    here, needs, open_ends = installed(), {}, set(wanted)
    while open_ends:
        name = open_ends.pop()
        if name in here and name not in needs:
            needs[name] = set(requirements(here[name])) & set(here)
            open_ends |= needs[name]
    files = {
        name: [path.as_posix() for path in here[name].files or () if path.parts[0] != ".."]
        for name in here
    }
    owners = defaultdict(set)  # by path, folders included, the packages that have files there
    for name, paths in files.items():
        for path in paths:
            for end in (*(i for i, letter in enumerate(path) if letter == "/"), len(path)):
                owners[path[:end]].add(name)
    index = package(folder, "python", platform.python_version(), **interpreter())
    for name, needed in needs.items():
        links = {}
        for path in files[name]:
            steps = path.split("/")
            parts = ["/".join(steps[:n]) for n in range(1, len(steps) + 1)]
            # The outermost folder that is this package's alone.
            alone = next((part for part in parts if owners[part] == {name}), None)
            if alone:
                links[f"{SITE}/{alone}"] = str(here[name].locate_file(alone))
        depends = ["python", *sorted(needed)]
        index |= package(folder, name, here[name].version, depends=depends, links=links)
    for subdir, packages in ((str(Subdir.current()), index), ("noarch", {})):
        (folder / subdir).mkdir(parents=True, exist_ok=True)
        content = {"info": {"subdir": subdir}, "packages": packages, "repodata_version": 1}
        (folder / subdir / "repodata.json").write_text(json.dumps(content))


def interpreter():
    """Links and files of a virtual environment: the running Python without its packages."""
    home = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    links = {"bin/python": str(home), "bin/python3": "python"}
    settings = f"home = {home.parent}\ninclude-system-site-packages = false\n"
    return {"links": links, "files": {"pyvenv.cfg": settings.encode()}}


def package(folder, name, version, *, depends=(), links=None, files=None):
    """Write a package and return its entry in the index of the channel."""
    subdir = str(Subdir.current())
    entry = {
        "name": name,
        "version": version,
        "build": "0",
        "build_number": 0,
        "depends": list(depends),
        "subdir": subdir,
    }
    links, files = links or {}, files or {}
    paths = [
        {"_path": path, "path_type": kind, "sha256": hashlib.sha256(data).hexdigest()}
        | {"size_in_bytes": len(data)}
        for kind, table in (("softlink", dict.fromkeys(links, b"")), ("hardlink", files))
        for path, data in table.items()
    ]
    members = dict(files)
    members["info/index.json"] = json.dumps(entry).encode()
    members["info/paths.json"] = json.dumps({"paths": paths, "paths_version": 1}).encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, data in members.items():
            member = tarfile.TarInfo(path)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for path, target in links.items():
            member = tarfile.TarInfo(path)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    data = bz2.compress(buffer.getvalue())
    path = folder / subdir / f"{name}-{version}-0.tar.bz2"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    sums = {"sha256": hashlib.sha256(data).hexdigest(), "md5": hashlib.md5(data).hexdigest()}
    return {path.name: entry | sums | {"size": len(data)}}
