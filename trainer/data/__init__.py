"""Pictures on disk: which there are, what each shows, and their pixels, decoded once."""
