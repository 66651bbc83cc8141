"""The verbs: one command a stage. Paths and params enter here and nowhere else."""
