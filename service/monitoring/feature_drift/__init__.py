"""Have the inputs of a model moved? Shares of feature values against the baseline's."""
