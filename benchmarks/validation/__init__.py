"""Studies that hold the project to what it claims of itself."""
