"""Task laws: distributions of regression problems."""
