"""Training and running the 1-D network family without TensorFlow, compiled by Numba."""
