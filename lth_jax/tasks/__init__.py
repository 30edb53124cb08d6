"""Tasks: what networks are trained for: the loss and the score of a batch."""
