"""What asv measures over commits: times, memory and losses. Importing any of it computes nothing."""
