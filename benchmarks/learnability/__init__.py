"""Learnability: how the excess risk of learned methods falls with the number of training tasks."""
