"""Memory ablation: which memory a Memformer needs, to reach its floor and to get there soon."""
