"""Named preprocess steps, the same code in training and on the edge; start at `pipeline`."""
