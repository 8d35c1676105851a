"""Structured channel pruning of any Keras model, exact."""
