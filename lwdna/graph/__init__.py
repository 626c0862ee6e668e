"""Channels of any network: followed, counted, cut. Knows neither data nor the paper's networks."""
