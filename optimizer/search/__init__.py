"""The search for a network: genes, evolution, judgement, history."""
