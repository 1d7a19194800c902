"""What can be told of a finished bundle: its images, verification, summary, differences, deltas."""
