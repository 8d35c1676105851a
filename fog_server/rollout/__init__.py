"""Rollout: which bundle each agent runs, how that is decided, and where it is remembered."""
