"""Meta-gradient data selection for text-to-image training (Alchemist, arXiv 2512.16905)."""
