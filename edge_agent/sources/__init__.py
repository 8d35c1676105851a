"""Where windows come from: one module per kind of source."""
