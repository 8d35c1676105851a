"""The program in the fog: runs the tail of every bundle it serves."""
