"""The channels of a network: traced, coupled, counted, and cut."""
