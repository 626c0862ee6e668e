"""The workflow: what Snakemake is asked, and what a run will take."""
