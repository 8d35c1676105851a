"""What evaluates the networks of a search, and where."""
