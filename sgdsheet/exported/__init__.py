"""A trained picture classifier as a workbook: `workbook.py` writes it, `reference.py` says what it must agree with."""
