"""From a caller's own model, loss, optimiser and scheduler to a program."""
