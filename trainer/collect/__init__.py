"""Pictures from the net: lists of URLs, and what becomes of each."""
