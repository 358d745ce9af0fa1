"""Task laws, registry, harness, result store, leaderboard and command line."""
