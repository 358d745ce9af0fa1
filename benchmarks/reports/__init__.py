"""What people read of a run: the leaderboard, tables and figures."""
