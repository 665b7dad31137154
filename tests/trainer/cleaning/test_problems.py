"""What `trainer check` finds, what of it would go, and that it comes back."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from sgdsheet.errors import Error
from trainer import check
from trainer.cleaning import trash
from trainer.cli import main


def picture(seed: int, side: int = 80) -> Image.Image:
    """Soft colours, different for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 255, (12, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def save(root: Path, **pictures: Image.Image | bytes) -> Path:
    """Files by their paths, with __ for a slash, as PNGs."""
    for name, each in pictures.items():
        path = root / f"{name.replace('__', '/')}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(each, bytes):
            path.write_bytes(each)
        else:
            each.save(path)
    return root


def found(root: Path, tiny: int = 32) -> dict[str, tuple[str, bool]]:
    """The kind of each problem and whether the picture would go, by its path without the suffix."""
    problems = check(root, show=False, tiny=tiny)
    return {each.picture.removesuffix(".png"): (each.kind, each.delete) for each in problems.found}


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["check", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture
def bears(tmp_path: Path) -> Path:
    """Two classes, with everything that can be wrong."""
    small = picture(1).resize((70, 70))
    whole = io.BytesIO()
    picture(5).save(whole, "PNG")
    heic = b"\0\0\0\x18ftypheic" + bytes(50)
    return save(
        tmp_path / "bears",
        teddy__a=small,
        teddy__deep__a=picture(1),
        teddy__b=picture(2),
        teddy__b2=picture(2),
        teddy__c=picture(3),
        teddy__c2=picture(3).resize((60, 60)),
        black__c=picture(3),
        black__icon=picture(4, 16),
        black__cut=whole.getvalue()[:3000],
        black__empty=b"",
        black__html=b"<html>",
        black__phone=heic,
        black__fine=picture(6),
    )


EXPECTED = {
    "black/cut": ("unreadable", True),
    "black/empty": ("unreadable", True),
    "black/html": ("unreadable", True),
    "black/phone": ("unreadable", False),  # another package can read it
    "black/icon": ("tiny", True),
    "teddy/deep/a": ("near duplicate", False),  # the larger one
    "teddy/a": ("near duplicate", True),
    "teddy/b": ("duplicate", False),
    "teddy/b2": ("duplicate", True),
    "black/c": ("across classes", False),
    "teddy/c": ("across classes", False),
    "teddy/c2": ("across classes", True),  # another of the same class stays
}


def test_what_is_found_and_what_would_go(bears: Path) -> None:
    assert found(bears) == EXPECTED
    problems = check(bears, show=False)
    table = problems.to_frame().set_index("picture")
    assert table.loc["teddy/a.png", "why"] == "a copy of teddy/deep/a.png"
    assert table.loc["teddy/b2.png", "why"] == "the same file as teddy/b.png"
    assert table.loc["black/c.png", "why"] == "it is in class black, and also in teddy"
    assert list(table.loc["teddy/a.png", ["width", "height"]]) == [70, 70]
    assert table.loc["black/phone.png", "why"].endswith("it may well be good")
    assert len(problems) == len(EXPECTED)


def test_delete_and_undo(bears: Path, tmp_path: Path) -> None:
    before = sorted(bears.rglob("*.png"))
    csv = tmp_path / "found.csv"
    assert "--delete moves" in run(bears, "--csv", csv).output
    assert sorted(bears.rglob("*.png")) == before
    assert pd.read_csv(csv)["delete"].sum() == 7
    result = run(bears, "--delete")
    assert f"{bears}: 13 pictures, 7 to delete, 5 others to look at" in result.output
    assert result.output.splitlines()[-1] == f"7 files moved to {trash.trash_of(bears)}; --undo brings them back"
    left = dict.fromkeys(("black/c", "teddy/c"), ("across classes", False))
    assert found(bears) == left | {"black/phone": ("unreadable", False)}
    assert run(bears, "--undo").output == f"{bears}: 7 files brought back\n"
    assert sorted(bears.rglob("*.png")) == before
    assert found(bears) == EXPECTED


def test_what_is_measured_with_stays(tmp_path: Path) -> None:
    root = save(
        tmp_path,
        train__teddy__1=picture(1, 160),
        valid__teddy__1=picture(1),
        train__teddy__2=picture(2),
        train__black__3=picture(3),
        valid__black__3=picture(4),
        test__teddy__2=picture(2),
        valid__teddy__2=picture(2),
    )
    assert found(root) == {
        "valid/teddy/1": ("across the split", False),
        "train/teddy/1": ("across the split", True),
        "test/teddy/2": ("across the split", False),
        "valid/teddy/2": ("across the split", True),
        "train/teddy/2": ("across the split", True),
    }
    said = str(check(root, show=False))
    assert "across the split: 2 groups (what is trained on is also measured with" in said
    assert "valid/teddy/1.png (80 x 80): keep, the copy that is for validation" in said


def test_a_set_of_small_pictures_and_one_without_classes(tmp_path: Path) -> None:
    root = save(tmp_path, a=picture(1, 20), b=picture(2, 20), c=picture(1, 20), d=picture(3))
    assert found(root) == {"a": ("duplicate", False), "c": ("duplicate", True)}
    assert "the folders are not taken for classes" in str(check(root, show=False))
    assert found(root, tiny=0) == found(root)
    (root / "c.png").unlink()
    assert str(check(root, show=False)).endswith("3 pictures, nothing found")


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
def test_a_link_goes_before_what_it_leads_to(tmp_path: Path) -> None:
    root = save(tmp_path, train__teddy__b=picture(1), train__black__1=picture(2), valid__black__1=picture(3))
    for link, to in (("train/teddy/a.png", "b.png"), ("valid/teddy/b.png", "../../train/teddy/b.png")):
        (root / link).parent.mkdir(exist_ok=True)
        (root / link).symlink_to(to)
    deleted = ("across the split", True)
    expected = {"train/teddy/a": deleted, "valid/teddy/b": deleted, "train/teddy/b": ("across the split", False)}
    assert found(root) == expected


def test_what_cannot_be_checked(tmp_path: Path, bears: Path) -> None:
    with pytest.raises(Error, match="there is none"):
        check(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    result = run(tmp_path / "empty")
    assert result.exit_code == 2
    assert result.stderr == f"error: {tmp_path / 'empty'}: the folder is empty; expected a folder for each class\n"
    assert run(bears, "--undo", "--delete").exit_code == 2
