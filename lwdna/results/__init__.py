"""Results: tables and figures of what ran, beside the paper's numbers."""
