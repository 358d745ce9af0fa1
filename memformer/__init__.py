"""Memformers: linear Transformers with memory, what a regression problem is, and what a solver is."""

__version__ = "0.1.0"
