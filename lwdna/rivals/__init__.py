"""The systems that LW-DNA is compared with in Table 1."""
