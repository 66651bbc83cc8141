"""Passes over a pool as lists of tasks, each of which can run anywhere, twice, or again."""
