"""A PyTorch model's training step, traced and placed: `sgdsheet.compile`."""
