"""What agents at work measured, as Prometheus recorded it, and the profiles that follow from it."""
