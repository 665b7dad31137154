"""The table of torch's operations: what it says adds up, is enough, and a few entries of it are counted anew."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("opinfo_coverage.py")
REPORT = SCRIPT.with_suffix(".md").read_text(encoding="utf-8")
ROWS = {
    name: (forward, gradient)
    for name, forward, gradient in re.findall(r"^\| (\S+) \| \d+ of \d+ \| (\S+) \| (\S+) \|", REPORT, re.MULTILINE)
}
WORDS = {"True": "agrees", "False": "no", "None": "-"}


def test_the_totals_are_those_of_the_rows() -> None:
    found = re.search(r"(\d+) of (\d+) entries agree .* forward pass, (\d+) of (\d+) in the gradient", REPORT)
    assert found is not None
    columns = [[row[column] for row in ROWS.values()] for column in (0, 1)]
    counted = [number for each in columns for number in (each.count("agrees"), each.count("agrees") + each.count("no"))]
    assert [int(number) for number in found.groups()] == counted
    assert counted[0] >= 180
    assert counted[2] >= 130
    assert f"the {len(ROWS)} entries" in REPORT


def test_some_rows_counted_anew() -> None:
    # One of each kind: what agrees, what has no gradient, what differs, what is random.
    names = ["softmax", "nn.functional.conv2d", "argmax", "linalg.cholesky", "bernoulli"]
    command = [sys.executable, str(SCRIPT), *(part for name in names for part in ("--only", name))]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.findall(r"^(\S+): \d+ (\w+) (\w+)", said.replace("\r", ""), re.MULTILINE)
    assert {name for name, _, _ in found} >= set(names)
    assert {name: (WORDS[forward], WORDS[gradient]) for name, forward, gradient in found} == {
        name: ROWS[name] for name, _, _ in found
    }
