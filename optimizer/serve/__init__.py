"""The job service: recipes that are queued, run, watched and fetched over the network."""
