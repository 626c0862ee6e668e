"""Tasks: what a network learns, and how its results are measured."""
