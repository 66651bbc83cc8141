"""Where pairs come from, and how they lie on disk."""
