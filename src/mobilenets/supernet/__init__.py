"""One set of weights for every network of a search space."""
