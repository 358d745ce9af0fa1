"""What is done with finished runs: validate, compare, merge, prune, export."""
