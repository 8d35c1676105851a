"""What every gRPC server of ours has: a port, certificates, rights, and a border for errors."""
