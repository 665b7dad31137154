"""Exercises: a lesson's workbook with formulas left blank for a learner to write."""
