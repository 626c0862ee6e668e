"""Training: one step, the loop, and what it takes to go on."""
