"""A bundle is replaced by another while the agent runs; imported only where updates are on."""
