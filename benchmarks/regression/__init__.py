"""Speed and loss over commits: the gate and the asv benchmarks."""
