"""What the edge agent, the fog server and the optimizer would otherwise disagree on."""
