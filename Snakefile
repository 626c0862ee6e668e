"""LW-DNA: from images to the paper's tables and figures."""

from snakemake.utils import min_version

min_version("9.19")


include: "rules/base.smk"


from lwdna.workflow.snakemake import base_of, refusing

with refusing():
    base = base_of(config, BASE / "config.yaml")

# What is given by --configfile changes the default, unless it says `base: none`.
if base == "default":

    configfile: BASE / "config.yaml"


config["base"] = base


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
        TARGETS.widths(),
        TARGETS.figures(),
        TARGETS.submissions(),
        paths.REPORT,
    localrule: True
