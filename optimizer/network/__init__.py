"""The 1-D network family of the search."""
