"""Somebody's own table as a workbook that learns from it: `fit`.

`reading` gets the table, `plan` says what becomes of each of its columns, `model` what is fitted to them. `sheets` is
the workbook: the table `prepared`, the `training`, its `results`. `reference` is the same by torch.
"""
