"""Studies: slow scripts whose committed results back what the documentation claims."""
