"""The timings pass: clocks, and counted work."""
