"""The configuration: read, checked, and narrowed to what is asked for."""
