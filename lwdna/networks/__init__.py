"""The networks of the paper, one file a family; no network knows that it will be shrunk."""
