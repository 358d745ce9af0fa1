"""Numbers that others published, held against what this project measures."""
