"""A bundle as a model repository, so that Triton can be the fog."""
