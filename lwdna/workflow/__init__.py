"""What Snakemake is told of a run, and what a run will take; only here Snakemake is imported."""
