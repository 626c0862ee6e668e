"""Where the files of the workflow are: in a folder, or in the repository of a module."""

import os
import shlex
import sys
import tempfile

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod
from snakemake.sourcecache import HostingProviderFile, LocalSourceFile


def checkout(rules):
    """The folder with the workflow's files, given where this file is."""
    if isinstance(rules, LocalSourceFile):
        return Path(rules).parent
    if not isinstance(rules, HostingProviderFile):
        raise WorkflowError(
            f"lwdna cannot be a module from '{rules}', where its package cannot be found; name"
            " its Snakefile by github(...), gitlab(...) or a path."
        )
    # Of a repository Snakemake fetches the files that rules name, one by one. The package is
    # needed whole, so that the revision is checked out, once, beside Snakemake's own clone.
    repository = rules.hosted_repo.repo
    commit = repository.commit(rules.ref).hexsha
    folder = Path(workflow.sourcecache.cache_path) / "lwdna" / commit
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as making:
            copy = repository.clone(f"{making}/copy", no_checkout=True)
            copy.git.checkout(commit)
            copy.close()
            try:
                os.rename(copy.working_dir, folder)
            except OSError:
                if not folder.exists():
                    raise  # else another process was faster
    return folder


if getattr(workflow.modifier.path_modifier, "prefix", None):
    raise WorkflowError(
        "lwdna was given a 'prefix:' as a module, which it does not follow everywhere; leave it"
        " out, and run in the folder that is meant (--directory)."
    )

# Not workflow.basedir: in a module, that is the folder of whoever uses it.
BASE = checkout(workflow.current_basedir)

sys.path.insert(0, str(BASE))

from lwdna.workflow.cluster import relay_signals

# The package is found there also in a conda environment and in a working directory elsewhere.
setup = f"set -euo pipefail; export PYTHONPATH={shlex.quote(str(BASE))}; "
# Snakemake removes the log of a step that runs again; the step goes on with it all the same.
setup += "export LWDNA_KEEP_LOGS=1; "
if DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method:
    # What pip put into the user's home is not in the environment.
    setup += "export PYTHONNOUSERSITE=1; "
else:
    # The steps run by the Python that runs Snakemake.
    setup += f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; "
if workflow.remote_exec:
    # A job on a cluster, which must go on after a signal until its training has saved its state.
    relay_signals()
    setup += "trap : TERM USR1; "
else:
    # Jobs on this machine deal out its GPUs among themselves: lwdna/training/cards.py.
    places = workflow.global_resources.get("gpu").value or 0
    setup += f"export LWDNA_GPU_PLACES={places} CUDA_DEVICE_ORDER=PCI_BUS_ID; "
prefix = setup.replace("{", "{{").replace("}", "}}")
shell.prefix(prefix)
