"""Laws by which a rated pool is pruned."""
