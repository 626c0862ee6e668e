"""The configuration, the wildcards, and who answers what rules ask: lwdna/workflow/.

Rules that are done in seconds are `localrule`: on a cluster, they run beside Snakemake.
"""

from lwdna.data.versions import read_versions
from lwdna.errors import LwdnaError
from lwdna.files import hold
from lwdna.methods import DHP, METHODS, SHRINKAGES
from lwdna.workflow import paths, words
from lwdna.workflow.cluster import end_former_jobs
from lwdna.workflow.replicas import Replicas
from lwdna.workflow.run import TEACHER, Run, runs_of
from lwdna.workflow.snakemake import checked
from lwdna.workflow.sources import Sources, pattern
from lwdna.workflow.targets import Targets

# A colon ends a folder in PYTHONPATH, braces make a wildcard of it in Snakemake.
if set(str(BASE)) & set(":{}"):
    raise WorkflowError(
        f"The folder of the workflow, '{BASE}', has a colon or a brace in its path, "
        "which does not work; rename it."
    )

# The default first: `workflow.configfiles` has it last.
given = workflow.overwrite_configfiles
files = [*(file for file in workflow.configfiles if file not in given), *given]

try:
    config = checked(config, files)
    SOURCES = Sources(config["datasets"], read_versions())
except LwdnaError as error:
    raise WorkflowError(str(error))

RUN = Run(config)
TARGETS = Targets(RUN)
REPLICAS = Replicas(config)


def take_lock():
    """Lock the working directory for as long as this run lasts."""
    # Snakemake's own lock outlives a killed run; this one ends with the process that holds it.
    try:
        end_former_jobs(".", alone=hold(".snakemake/lwdna.lock"))
    except LwdnaError as error:
        raise WorkflowError(str(error))


onstart:
    take_lock()


if not workflow.modifier.is_main_snakefile():
    # Snakemake drops what a module wants at the start; what its user wants is done first.
    others = workflow._onstart
    workflow._onstart = lambda log: (others(log), take_lock())


wildcard_constraints:
    experiment=pattern(RUN.experiments),
    method=pattern([TEACHER, *METHODS]),
    shrinkage=pattern(name for name in SHRINKAGES if name != DHP),
    dataset=pattern(SOURCES.datasets),
    download=pattern(SOURCES.downloads),
    replica=pattern(REPLICAS.networks),
    seed=paths.CONSTRAINTS["seed"],
    split=paths.CONSTRAINTS["split"],
    table=paths.CONSTRAINTS["table"],
