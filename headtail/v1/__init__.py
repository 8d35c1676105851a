"""Stubs of the control service, generated from proto/headtail/v1."""
