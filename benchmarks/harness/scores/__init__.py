"""The scores pass: fit, solve, measure, and the rows that say it."""
