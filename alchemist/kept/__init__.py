"""What people do with the ids that a selection keeps: lists for other tools, new files, and a loader."""
