"""Data: where images come from, how they are kept, and PyTorch data sets of them."""
