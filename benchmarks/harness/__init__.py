"""The harness: cells, the two passes over them, and the run that writes their tables."""
