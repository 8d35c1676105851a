"""What a run's network is held against."""
