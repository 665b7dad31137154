"""A training step as plain data that torch can run again: nodes, graphs, and the program of all steps."""
