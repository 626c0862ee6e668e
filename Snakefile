"""LW-DNA: from images to the paper's tables and figures."""

from snakemake.utils import min_version

min_version("9.19")


include: "rules/base.smk"


from lwdna.config.read import SECTIONS

# A configuration file that is complete stands alone; any other changes the default.
if not SECTIONS <= set(config):

    configfile: BASE / "config.yaml"


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/networks.smk"
include: "rules/tracking.smk"
include: "rules/outputs.smk"
include: "rules/complexity.smk"
include: "rules/targets.smk"


rule all:
    default_target: True
    input:
        TARGETS.tables(),
        TARGETS.agreement(),
        TARGETS.figures(),
        TARGETS.submissions(),
    localrule: True
