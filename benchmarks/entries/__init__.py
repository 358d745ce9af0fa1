"""Methods of strangers: checked, run where they can see and write nothing, and put where a board finds them."""
