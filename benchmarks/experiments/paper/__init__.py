"""The paper's experiments, redone as published and on fresh tasks, and its claims judged."""
