"""The offline program: turns data and a recipe, or a finished model, into a signed bundle."""
