"""What gives pairs a rating: the meta-trained rater, and its controls."""
