"""Learned methods of the field, one file each, behind the door of `memformer.solvers.learned`."""
