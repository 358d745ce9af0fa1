"""The registries, and what comes with the project: solvers, laws, metrics."""
