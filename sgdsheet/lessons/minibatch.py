"""Being written in the main session (not by a helper): the same data with batch size 1, 8 and all."""
