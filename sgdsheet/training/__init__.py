"""A workbook's step made again and again: what is fed to it, what is written down of it, and torch's run beside it."""
