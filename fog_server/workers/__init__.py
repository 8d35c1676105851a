"""Workers: several processes that serve on one port, and the parent that looks after them."""
