"""Memformers as ordinary solvers."""
