"""Rivals of Grad-CAM pruning: the same network, the same budget, one table."""
