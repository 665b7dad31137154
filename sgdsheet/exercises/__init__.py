"""Exercises: a lesson's workbook with formulas left for a learner to write, and the grading of what comes back."""
