"""What params.yaml may hold of one model family each: a file whose name is the family's."""
