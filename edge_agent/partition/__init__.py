"""Where to cut, decided while the agent runs: what is estimated, predicted and chosen."""
