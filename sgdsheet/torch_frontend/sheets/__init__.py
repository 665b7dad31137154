"""From a program to the sheets of a workbook."""
