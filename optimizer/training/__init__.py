"""Training a network of the family, whatever computes it."""
