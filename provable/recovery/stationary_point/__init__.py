"""Recovery from the parameters of a trained network alone."""
