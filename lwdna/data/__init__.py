"""Data: images, sub-images, HDF5 stores, and the PyTorch data sets.

Nothing is imported here, so that a step that only cuts images does not wait for PyTorch.
"""
