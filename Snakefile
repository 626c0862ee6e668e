"""LW-DNA: from images to the paper's tables and figures."""

from snakemake.utils import min_version

min_version("9.19")

# A configuration file that is complete stands alone; any other changes the default.
if not {"datasets", "protocols", "experiments"} <= set(config):

    configfile: Path(workflow.basedir) / "config.yaml"


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/networks.smk"
include: "rules/outputs.smk"
include: "rules/complexity.smk"


localrules:
    all,
    complexity_columns,
    download,
    table1,
    table2,
    table3,
    table4,
    figures,


rule all:
    default_target: True
    input:
        tables(),
        figures(),


rule table1:
    input:
        tables([1]),


rule table2:
    input:
        tables([2]),


rule table3:
    input:
        tables([3]),


rule table4:
    input:
        tables([4]),


rule figures:
    input:
        figures(),
