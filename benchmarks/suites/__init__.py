"""Suites: what they may say, and those that come with the project."""
