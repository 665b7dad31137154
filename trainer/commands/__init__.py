"""The commands of `trainer`, a file for those that belong together."""
