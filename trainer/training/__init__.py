"""The training itself: what is drawn for a batch, the loop, learning rates, checkpoints."""
