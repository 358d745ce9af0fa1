"""What a run on rows of real tables says."""
