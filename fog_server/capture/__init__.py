"""Capture: a bounded random sample of the models' inputs, kept on the fog's disk for a while."""
