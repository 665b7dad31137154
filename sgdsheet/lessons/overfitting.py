"""Being written in the main session (not by a helper)."""
