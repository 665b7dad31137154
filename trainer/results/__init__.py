"""What came of a training: predictions, what they say, and the report."""
