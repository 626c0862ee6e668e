"""Images that are to be put somewhere by hand, and are not there when a run begins."""

from __future__ import annotations

from typing import Any

from snakemake.logging import logger

from lwdna.errors import DataError
from lwdna.workflow.sources import Sources


def refuse_lacking(sources: Sources, workflow: Any) -> None:
    """Refuse to run jobs whose images are not there.

    Args:
        sources: of the images.
        workflow: Snakemake's ``workflow``, when its jobs are planned and none has begun.

    Raises:
        DataError: naming all that is lacking, and where it is had.
    """
    found = [] if workflow.touch else sources.lacking(workflow.dag.needrun_jobs())
    if found:
        raise DataError(
            f"{' '.join(found)} Or run a part that does without (--config datasets=...)."
        )


def say_lacking(sources: Sources, workflow: Any) -> None:
    """Warn after a dry run of what :func:`refuse_lacking` would refuse."""
    # Snakemake takes the jobs of a dry run for finished.
    planned = workflow.dag.needrun_jobs(exclude_finished=False)
    for sentence in sources.lacking(planned):
        logger.warning(f"Before this can run: {sentence}")
