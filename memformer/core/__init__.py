"""What a regression problem and a solver are: what every room imports."""
