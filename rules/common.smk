"""The configuration, the wildcards, and who answers what rules ask: lwdna/workflow/.

Rules that are done in seconds are `localrule`: on a cluster, they run beside Snakemake.
"""

from lwdna.config.methods import (
    METHODS,
    PRUNINGS,
    SEARCHES,
    SHRINKAGES,
    TEACHER,
    steps_of,
)
from lwdna.data.versions import read_versions
from lwdna.io.locks import hold
from lwdna.workflow import paths, words
from lwdna.workflow.cluster import before_planning, end_former_jobs
from lwdna.workflow.code import code
from lwdna.workflow.dates import refuse_wrong_dates
from lwdna.workflow.ended import say_signals
from lwdna.workflow.lacking import refuse_lacking, say_lacking
from lwdna.workflow.references import References
from lwdna.workflow.replicas import Replicas
from lwdna.workflow.reported import Reported
from lwdna.workflow.run import Run, runs_of
from lwdna.workflow.snakemake import checked, refusing
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

with refusing():
    config = checked(config, files)
    SOURCES = Sources(config["datasets"], read_versions())

if config["tensorboard"]:
    # Not by a word of commands, which would be run again for it.
    shell.prefix(f"{prefix}export LWDNA_TENSORBOARD=1; ")

RUN = Run(config)
REFERENCES = References(RUN)
TARGETS = Targets(RUN, REFERENCES)
REPORTED = Reported(TARGETS)
REPLICAS = Replicas(config)


def begin():
    """Lock the working directory for as long as this run lasts, and be alone in it."""
    # Snakemake's own lock outlives a killed run; this one ends with the process that holds it.
    with refusing():
        end_former_jobs(".", alone=hold(".snakemake/lwdna.lock"))
    # The only thing that is read of the directory before it is locked.
    if changed := SOURCES.changed():
        raise WorkflowError(
            f"Another process has just made or removed {', '.join(changed)}; start again."
        )


def planned():
    """Look at what will be read: it must be there, and as old as it was made."""
    with refusing():
        refuse_lacking(SOURCES, workflow)
        refuse_wrong_dates(workflow)


def foreseen():
    """Say after a dry run what would not be there to be read."""
    say_lacking(SOURCES, workflow)


say_signals()
before_planning(workflow, begin, planned=planned, foreseen=foreseen)


wildcard_constraints:
    experiment=pattern(RUN.experiments),
    method=pattern([TEACHER, *METHODS]),
    # Searches and prunings have rules of their own.
    shrinkage=pattern(n for n in SHRINKAGES if n not in SEARCHES and n not in PRUNINGS),
    dataset=pattern(SOURCES.datasets),
    download=pattern(SOURCES.downloads),
    replica=pattern(REPLICAS.networks),
    reference=pattern(REFERENCES.settings),
    number=paths.CONSTRAINTS["number"],
    seed=paths.CONSTRAINTS["seed"],
    split=paths.CONSTRAINTS["split"],
    table=paths.CONSTRAINTS["table"],
