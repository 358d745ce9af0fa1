"""Experiments: one folder each, behind one interface."""
