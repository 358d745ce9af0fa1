"""Growth of time, work and memory with d, N, batch and steps."""
