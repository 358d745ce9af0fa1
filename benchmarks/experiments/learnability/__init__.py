"""Excess risk against the number of training tasks."""
