"""The recipe: one TOML file that says what `optimizer run` makes and from what."""
