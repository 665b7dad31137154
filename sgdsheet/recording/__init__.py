"""A few weights followed through somebody's own training: what the optimiser was given, and what it made of it."""
