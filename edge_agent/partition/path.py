"""Where the table of plans is found: known without all that makes it."""

PATH = "/partition"
"""Of the page beside the metrics."""
