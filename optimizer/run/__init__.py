"""One run: its stages, and the folder that they share."""
