"""Training on each of a list of laws and scoring on every other."""
