"""STAR, next-scale prediction: everything that is true of this family alone."""
