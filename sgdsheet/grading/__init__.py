"""Grading: what learners have written into the blanks of an exercise, with torch as the judge."""
