"""The registries, what comes with the project (`built_in.toml`), and its metrics."""
