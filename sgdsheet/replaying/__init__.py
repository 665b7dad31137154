"""A recorded training as a workbook: what the optimizer did to a few weights, in formulas, beside what it did."""
