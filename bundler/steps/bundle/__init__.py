"""What is said of a finished bundle: its images, verification, summary, differences, deltas."""
