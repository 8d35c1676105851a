"""The edge agent: reads windows, runs the head, streams the activation, writes the results."""
