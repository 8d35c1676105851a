"""What listens on the public port: it tells the streams of our agents from all that gRPC serves."""
