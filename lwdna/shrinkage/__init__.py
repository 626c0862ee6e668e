"""Shrinkage: latent vectors, their gradients, and a budget met exactly."""
