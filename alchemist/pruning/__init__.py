"""Laws by which a rated pool is pruned, one a file, behind one table (`samplers`)."""
