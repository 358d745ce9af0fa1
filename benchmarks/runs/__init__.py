"""Finished runs: their schema, reading, writing, and what is done with them years later."""
