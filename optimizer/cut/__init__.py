"""Taking an ONNX model apart where it may be cut."""
