"""A finished model, cut and bundled."""
