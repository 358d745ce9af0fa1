"""Views of a run beside the leaderboard: each file is one view, a pure function to a table and one to a figure."""
