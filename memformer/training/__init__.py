"""Training Memformers: recipe, objective, optimisers, the loop."""
