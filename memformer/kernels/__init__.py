"""The fast forms of a Memformer's layers, each held to its definition by tests."""
