"""A stand-in for `conda`: the few calls that Snakemake makes, answered by py-rattler.

It solves and links as conda does, from the channels of a folder that `CONDA_CHANNELS` names instead
of the internet's; it is no conda.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

import yaml
from rattler import Channel, Gateway, MatchSpec, Subdir, VirtualPackage, install, solve
from rattler.exceptions import SolverError
from rattler.shell import ActivationVariables, Shell, activate

ROOT = Path(os.environ["CONDA_ROOT"])


async def create(file, prefix):
    environment = yaml.safe_load(Path(file).read_text())
    channels = [name for name in environment["channels"] if name != "nodefaults"]
    records = await solve(
        sources=[Channel(f"file://{os.environ['CONDA_CHANNELS']}/{name}") for name in channels],
        specs=[MatchSpec(spec, strict=False) for spec in environment["dependencies"]],
        gateway=Gateway(cache_dir=ROOT / "repodata"),
        platforms=[Subdir.current(), Subdir("noarch")],
        virtual_packages=VirtualPackage.detect(),
    )
    await install(records, target_prefix=prefix, cache_dir=ROOT / "packages", show_progress=False)


def leave(status, text):
    """End at once: threads of py-rattler outlive its work, and crash a Python that is ending."""
    stream = sys.stderr if status else sys.stdout
    stream.write(text + "\n")
    stream.flush()
    os._exit(status)


def main(arguments):
    match arguments:
        case ["--version"]:
            return "conda 24.7.1"
        case ["info", "--json"]:
            return json.dumps({"conda_prefix": str(ROOT), "platform": str(Subdir.current())})
        case ["config", "--get", "channel_priority", "--json"]:
            return json.dumps({"get": {"channel_priority": "strict"}})
        case ["env", "create", "--quiet", "--no-default-packages", "--file", file, "--prefix", to]:
            try:
                asyncio.run(create(file, to))
            except SolverError as error:
                leave(1, str(error))
            return ""
        case ["clean", *_]:
            return ""
        case ["activate", prefix]:
            now = ActivationVariables(None, os.environ["PATH"].split(":"))
            return activate(Path(prefix), now, shell=Shell.bash).script
    return leave(2, f"The stand-in for conda does not know: {arguments}")


if __name__ == "__main__":
    leave(0, main(sys.argv[1:]))
