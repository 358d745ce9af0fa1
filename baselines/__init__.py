"""Every solver that is not a Memformer, and the truth lines."""
