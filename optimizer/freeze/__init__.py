"""Layer freezing: which layers of a Keras network are trained, and what that costs and saves."""
