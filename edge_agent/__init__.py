"""The program on the device: runs the head and streams activations to the fog."""
