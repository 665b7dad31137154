"""Which pictures are listed, under which class, on which side of the split; and what is refused."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgdsheet.errors import Error
from trainer.data.folder import Listing, check_no_class_lost, listing, split
from trainer.data.walk import SUFFIXES


def many(count: int, *classes: str) -> list[str]:
    return [f"{name}/{number:05}.jpg" for name in classes for number in range(count)]


def labelled(found: Listing) -> dict[str, str]:
    return {name: found.classes[label] for name, label in zip(found.names, found.labels, strict=True)}


def in_valid(found: Listing) -> set[str]:
    return {name for name, valid in zip(found.names, found.part == "valid", strict=True) if valid}


def message(*arguments: object, **named: object) -> str:
    with pytest.raises(Error) as caught:
        listing(*arguments, **named)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- Layouts --------------------------------------------------------------------------------------------------------


def test_a_folder_of_class_folders(files: Callable[..., Path]) -> None:
    root = files("cat/b.PNG", "cat/a.jpg", "dog/old/pugs/c.webp", "dog/old/d.TIFF", "dog/e.jpeg", "notes.txt", "x.jpg")
    files("cat/.hidden.jpg", "cat/.thumbs/f.jpg", "cat/readme.md", "cat/Thumbs.db", "dog/data.csv", ".DS_Store")
    files(".git/picture.jpg", ".ipynb_checkpoints/g.jpg", "__MACOSX/cat/a.jpg")
    found = listing(root)
    assert labelled(found) == {
        "cat/a.jpg": "cat",
        "cat/b.PNG": "cat",
        "dog/e.jpeg": "dog",
        "dog/old/d.TIFF": "dog",
        "dog/old/pugs/c.webp": "dog",
    }
    assert found.names == sorted(found.names)
    assert found.classes == ["cat", "dog"]
    assert found.labels.dtype == np.int64
    assert set(found.part) == {"train", "valid"}
    assert not found.multi_label
    assert found.file(3) == root / "dog" / "old" / "d.TIFF"
    assert listing(str(root)).names == found.names


@pytest.mark.parametrize("suffix", "jpg jpeg png gif webp bmp tif tiff ppm pgm pbm avif jfif JPG Png".split())
def test_every_suffix_of_a_picture(files: Callable[..., Path], suffix: str) -> None:
    assert len(listing(files(f"a/1.{suffix}", f"a/2.{suffix}", "b/1.jpg", "b/2.jpg")).names) == 4


def test_train_and_valid(files: Callable[..., Path]) -> None:
    root = files(*(f"train/{name}" for name in many(9, "cat", "dog")), "valid/cat/1.jpg", "valid/dog/deep/2.jpg")
    files("test/unknown.jpg", "README.md")
    found = listing(root, valid_pct=0.9)
    assert in_valid(found) == {"valid/cat/1.jpg", "valid/dog/deep/2.jpg"}
    assert len(found.names) == 20
    assert labelled(found)["valid/dog/deep/2.jpg"] == "dog"
    assert labelled(found)["train/dog/00000.jpg"] == "dog"


def test_a_class_may_be_missing_from_valid(files: Callable[..., Path]) -> None:
    assert in_valid(listing(files("train/a/1.jpg", "train/b/1.jpg", "valid/a/2.jpg"))) == {"valid/a/2.jpg"}


def test_symbolic_links_are_followed(files: Callable[..., Path], tmp_path: Path) -> None:
    root = files("a/1.jpg", "b/1.jpg")
    (tmp_path / "else" / "deep").mkdir(parents=True)
    (tmp_path / "else" / "deep" / "2.jpg").touch()
    (root / "a" / "link").symlink_to(tmp_path / "else")
    (root / "b" / "3.jpg").symlink_to(tmp_path / "else" / "deep" / "2.jpg")
    (root / "c").symlink_to(tmp_path / "else")
    (root / "b" / "nowhere.jpg").symlink_to(tmp_path / "gone")
    assert labelled(listing(root)) == {
        "a/1.jpg": "a",
        "a/link/deep/2.jpg": "a",
        "b/1.jpg": "b",
        "b/3.jpg": "b",
        "b/nowhere.jpg": "b",
        "c/deep/2.jpg": "c",
    }


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
def test_a_pipe_is_no_picture(files: Callable[..., Path]) -> None:
    root = files("a/1.jpg", "a/2.jpg", "b/1.jpg")
    os.mkfifo(root / "b" / "pipe.jpg")
    assert listing(root).names == ["a/1.jpg", "a/2.jpg", "b/1.jpg"]


# --- The split ------------------------------------------------------------------------------------------------------

NAMES = st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=12), unique=True, min_size=1, max_size=60)


@given(NAMES, NAMES, st.floats(0.05, 0.95), st.integers(0, 9))
def test_adding_pictures_moves_no_other(first: list[str], more: list[str], valid_pct: float, seed: int) -> None:
    first = [name for name in first if name not in more]
    before = dict(zip(first, parts(first, valid_pct, seed), strict=True))
    together = sorted(first + more)
    after = dict(zip(together, parts(together, valid_pct, seed), strict=True))
    # Only a class that would have been all on one side gives a picture away, and then a single one.
    if len(set(before.values())) < 2:
        return
    moved = [name for name in first if before[name] != after[name]]
    assert len(moved) <= 1
    for name in moved:
        assert sum(before[other] == before[name] for other in first) == 1
        assert sum(after[other] == before[name] for other in more) >= 1


def parts(names: Sequence[str], valid_pct: float, seed: int) -> list[bool]:
    return split(names, np.zeros(len(names), dtype=np.int64), valid_pct, seed).tolist()


def test_adding_pictures_to_a_folder_of_many_moves_none(files: Callable[..., Path]) -> None:
    before = in_valid(listing(files(*many(60, "a", "b"))))
    after = listing(files(*many(80, "a", "b", "c"), "a/0.jpg", "b/new/z.png"))
    assert before == in_valid(after) & set(many(60, "a", "b"))


@pytest.mark.parametrize("valid_pct", [0.05, 0.2, 0.5, 0.9])
def test_about_the_share_asked_for_is_for_validation(valid_pct: float) -> None:
    names = many(5000, "a", "b")
    labels = np.repeat([0, 1], 5000)
    deviation = np.sqrt(valid_pct * (1 - valid_pct) / len(names))
    shares = np.array([split(names, labels, valid_pct, seed).mean() for seed in range(5)])
    assert np.abs(shares - valid_pct).max() < 4 * deviation
    # Those of a smaller share are among those of a larger one.
    assert not (split(names, labels, valid_pct / 2, 0) & ~split(names, labels, valid_pct, 0)).any()


def test_seeds_split_differently_and_independently() -> None:
    names, labels = many(5000, "a"), np.zeros(5000, dtype=int)
    one, other = split(names, labels, 0.2, 1), split(names, labels, 0.2, 2)
    assert abs((one & other).mean() - 0.04) < 0.012
    assert (one == split(names, labels, 0.2, 1)).all()


def test_the_split_is_the_same_wherever_the_folder_is_and_whenever(files: Callable[..., Path], tmp_path: Path) -> None:
    root = files(*many(10, "a", "b"))
    before = listing(root)
    root.rename(tmp_path / "moved")
    assert in_valid(listing(tmp_path / "moved")) == in_valid(before)
    # Written down, so that no later version splits otherwise.
    numbers = {name: [int(each[2:7]) for each in sorted(in_valid(before)) if each[0] == name] for name in "ab"}
    assert numbers == {"a": [5], "b": [1, 4, 5, 7]}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_each_class_has_pictures_on_both_sides_if_it_has_two(count: int) -> None:
    for seed in range(40):
        for valid_pct in (0.01, 0.5, 0.99):
            valid = split(many(count, "a", "b"), np.repeat([0, 1], count), valid_pct, seed).reshape(2, count)
            assert (~valid).any(axis=1).all()
            assert (valid.any(axis=1) == (count > 1)).all()


def test_the_one_that_changes_sides_is_the_nearest_to_it() -> None:
    names, labels = many(7, "a"), np.zeros(7, dtype=int)
    for seed in range(20):
        # As the share grows, pictures come to validation one by one: the first is there from the beginning.
        (first,) = np.flatnonzero(split(names, labels, 1e-9, seed))
        (last,) = np.flatnonzero(~split(names, labels, 1 - 1e-9, seed))
        for valid_pct in np.linspace(0.01, 0.99, 30):
            valid = split(names, labels, valid_pct, seed)
            assert valid[first]
            assert not valid[last]


# --- A CSV ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header", ["path,label", "file,class", "Name, Label ", "picture,species", "path,species", "picture,class"]
)
def test_a_csv_of_path_and_label(files: Callable[..., Path], header: str) -> None:
    root = files("1.jpg", "in/2.jpg", "3.jpg", "4.jpg")
    (root / "labels.csv").write_text(f"{header}\n./1.jpg, NA\nin/2.jpg,7\n\n3.jpg,NA\n4.jpg,7\n", encoding="utf-8-sig")
    expected = {"1.jpg": "NA", "3.jpg": "NA", "4.jpg": "7", "in/2.jpg": "7"}
    assert labelled(listing(root / "labels.csv")) == expected
    assert labelled(listing(root, csv=root / "labels.csv")) == expected
    assert listing(root / "labels.csv").root == root


def test_columns_are_found_by_name_and_the_split_is_taken(files: Callable[..., Path], tmp_path: Path) -> None:
    root = files(*many(2, "x"), *many(2, "y"))
    for word, yes, no in (("valid", "True", "False"), ("is_valid", "1", "0"), ("VALID", "yes", "no")):
        csv = tmp_path / "elsewhere.csv"
        rows = [f"9,b,{no},x/00000.jpg", f"9,b,{yes},x/00001.jpg", f"9,a,{no},y/00000.jpg", f"9,a,{no},y/00001.jpg"]
        csv.write_text("\n".join([f"id,label,{word},path", *rows]))
        found = listing(root, csv=csv, valid_pct=0.9)
        assert in_valid(found) == {"x/00001.jpg"}
        assert labelled(found)["x/00001.jpg"] == "b"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "{csv}: is empty; expected the columns path and label"),
        ("path\n1.jpg\n", "{csv}: expected the columns path and label, got 'path'"),
        (
            "1.jpg,a\n2.jpg,b\n",
            "{csv}: expected a first row that names the columns, such as path,label, got '1.jpg,a'",
        ),
        ("path,label\n", "{csv}: there are no pictures in it"),
        ("path,label\n1.jpg,a\n\n2.jpg,\n", "{csv}: row 4: expected a path and a label, got '2.jpg' and ''"),
        (
            "path,label\n1.jpg,a\n./1.jpg,b\n",
            "{csv}: row 3: 1.jpg is there twice, as 'a' in row 2 and as 'b' in row 3; remove one of the rows",
        ),
        (
            "path,label,split\n1.jpg,a,train\n1.jpg,a,test\n",
            "{csv}: row 3: 1.jpg is there twice, as 'train' in row 2 and as 'test' in row 3; remove one of the rows",
        ),
        ("path,label\n1.jpg,a\n3.jpg,b\n", "{csv}: 1 file is missing from {root}; the first is 3.jpg in row 3"),
        (
            "path,label\n1.jpg,a\n3.jpg,b\n2.jpg,c\n4.jpg,a\n",
            "{csv}: 2 files are missing from {root}; the first is 3.jpg in row 3",
        ),
        ("path,label\n1.jpg,a\n2.jpg,a\n", "{csv}: expected at least two classes, got only 'a'"),
        ("path,label\n1.jpg,a\n2.jpg,.b\n", "{csv}: a class name must not begin with a dot, got '.b'"),
        (
            "path,label\n1.jpg,Cat\n2.jpg,cat\n",
            "{csv}: the classes 'Cat' and 'cat' differ in nothing but case; rename one",
        ),
        (
            "path,label,valid\n1.jpg,a,0\n2.jpg,b,perhaps\n",
            "{csv}: row 3: expected true or false, or 1 or 0, in column 'valid', got 'perhaps'; split_column='' if it "
            "is no split",
        ),
        ("path,label,valid\n1.jpg,a,0\n2.jpg,b,0\n", "{csv}: there is no picture to validate with"),
        (
            "path,label,valid\n1.jpg,a,0\n2.jpg,b,1\n",
            "{csv}: class 'b' has no picture to train with, for all are for validation",
        ),
    ],
)
def test_a_csv_that_cannot_be_used(files: Callable[..., Path], text: str, expected: str) -> None:
    root = files("1.jpg", "2.jpg")
    csv = root / "labels.csv"
    csv.write_text(text)
    assert message(csv) == expected.format(csv=csv, root=root)
    assert message(root, csv=csv) == expected.format(csv=csv, root=root)


def test_files_that_are_no_csv(files: Callable[..., Path]) -> None:
    csv = files("1.jpg") / "labels.csv"
    assert message(csv) == f"{csv}: cannot be read: No such file or directory"
    csv.write_bytes(b"path,label\n1.jpg,\xff\n")
    assert message(csv) == f"{csv}: is no CSV file: it is not text in UTF-8"
    csv.write_text("path,label\n1.jpg,one, two\n2.jpg,b\n")
    assert message(csv).startswith(f"{csv}: row 2: expected 2 values, got 3")
    csv.write_text('path,label\n"1.jpg,a\n')
    assert message(csv).startswith(f"{csv}: is no CSV file that can be read: ")


FLAT = (
    "expected a folder for each class, but its pictures lie directly in it; if their names say the class, give label, "
    "as label='^(.+)_[0-9]+'; or a CSV"
)

# --- Folders that cannot be used ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], "{root}: the folder is empty; expected a folder for each class"),
        (["1.jpg", "2.jpg"], f"{{root}}: {FLAT}"),
        (
            ["a/", "b/text.txt", "b/1.heic", "b/2.HEIC", "b/3"],
            "{root}: there are no pictures in it, but 2 .heic, 1 .txt files and 1 file without a suffix; a picture's "
            f"name ends in {', '.join(sorted(SUFFIXES))}",
        ),
        (["a/1.jpg", "a/2.jpg"], "{root}: expected at least two classes, got only 'a'"),
        (
            ["a/1.jpg", ".old/1.jpg", "b/", "lost+found/"],
            "{root}: expected at least two classes, got only 'a'; passed over: .old, lost+found (hidden, or left "
            "behind by a program); passed over: b (no pictures in it)",
        ),
        (
            ["Cat/1.jpg", "b/1.jpg", "cat/1.jpg"],
            "{root}: the classes 'Cat' and 'cat' differ in nothing but case; rename one",
        ),
        (
            ["a/1.jpg", "b/1.HEIC", "b/2.heic", "b/3"],
            "{root}: expected at least two classes, got only 'a'; passed over: b: no pictures in it, but 2 .heic files "
            "and 1 file without a suffix",
        ),
        (["a/1.jpg", "b/1.jpg"], "{root}: there is no picture to validate with"),
        (
            ["train/bear/1.jpg", "train/cat/1.jpg", "valid/baer/1.jpg"],
            "{root}/valid/baer: there is no class 'baer' to train with; did you mean 'bear'?",
        ),
        (["train/a/1.jpg", "train/b/1.jpg", "valid/1.jpg"], f"{{root}}/valid: {FLAT}"),
        (["train/1.jpg", "test/1.jpg", "test/2.jpg"], f"{{root}}/train: {FLAT}"),
        (["Train/1.jpg"], f"{{root}}/Train: {FLAT}"),
        (["images/1.jpg", "labels.csv"], f"{{root}}/images: {FLAT}, as csv='labels.csv'"),
        (["1.jpg", "labels.csv"], f"{{root}}: {FLAT}, as csv='labels.csv'"),
        (["train/a/1.jpg", "val/a/1.jpg"], "{root}: expected at least two classes, got only 'a'"),
        (
            ["train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg", "Valid/b/1.jpg"],
            "{root}: both Valid and val could be the folder of valid; keep one of them out with without=['{root}/val']",
        ),
        (
            ["val/a/1.jpg", "val/b/1.jpg", "Test/a/1.jpg"],
            "{root}: there is val and Test, but no train beside it; give {root}/val if its folders are the classes",
        ),
        (
            ["cat/old/1.jpg", "cat/new/2.jpg"],
            "{root}: expected at least two classes, got only 'cat'; give {root}/cat if the folders in it are the "
            "classes",
        ),
    ],
)
def test_folders_that_cannot_be_used(files: Callable[..., Path], names: list[str], expected: str) -> None:
    root = files(*names)
    if "Cat/1.jpg" in names and len(list(root.iterdir())) == 2:
        pytest.skip("this file system does not tell Cat from cat")
    assert message(root) == expected.format(root=root)


def test_what_is_no_folder(files: Callable[..., Path]) -> None:
    root = files("a.jpg")
    assert message(root / "gone") == f"{root / 'gone'}: there is no such folder"
    expected = "expected a folder with a folder for each class, or a .csv, got a file"
    assert message(root / "a.jpg") == f"{root / 'a.jpg'}: {expected}"


@pytest.mark.parametrize("valid_pct", [0, 1, -0.2, 20, float("nan")])
def test_the_share_for_validation_lies_between_0_and_1(files: Callable[..., Path], valid_pct: float) -> None:
    expected = f"valid_pct: expected a share between 0 and 1, such as 0.2, got {valid_pct}"
    assert message(files(*many(3, "a", "b")), valid_pct=valid_pct) == expected


@pytest.mark.parametrize("target", [".", "..", "../.."])
def test_symbolic_links_that_loop(files: Callable[..., Path], target: str) -> None:
    root = files("a/1.jpg", "b/deep/1.jpg")
    loop = root / "b" / "deep" / "back"
    loop.symlink_to(target)
    real = os.path.realpath(loop)
    assert message(root) == f"{loop}: the symbolic link leads back to {real}, which it is in itself; remove it"


def test_a_link_that_leads_to_itself(files: Callable[..., Path]) -> None:
    root = files("a/1.jpg", "b/1.jpg", "b/3.jpg")
    (root / "a" / "2.jpg").symlink_to("2.jpg")
    assert "a/2.jpg" in listing(root).names  # it cannot be opened, and is then reported as such


def test_a_folder_that_cannot_be_read(files: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    root = files("a/1.jpg", "b/1.jpg")

    def refused(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refused)
    assert message(root) == f"{root}: the folder cannot be read: Permission denied"


# --- Pictures that could not be decoded -----------------------------------------------------------------------------


def made(valid: str) -> Listing:
    """Classes a and b with a picture for each 0 (to train) and 1 (to validate) of `a and b`."""
    rows = [(name, each) for name, part in zip("ab", valid.split(), strict=True) for each in part]
    names = [f"{name}/{number}.jpg" for number, (name, _) in enumerate(rows)]
    labels = np.array(["ab".index(name) for name, _ in rows])
    return Listing(
        Path("root"), names, labels, ["a", "b"], np.array(["train valid test".split()[int(each)] for _, each in rows])
    )


def test_pictures_that_could_not_be_decoded_are_left_out() -> None:
    left = check_no_class_lost(made("001 0011"), {1: "not a picture", 5: "the file is empty"})
    assert left.names == ["a/0.jpg", "a/2.jpg", "b/3.jpg", "b/4.jpg", "b/6.jpg"]
    assert left.labels.tolist() == [0, 0, 1, 1, 1]
    assert left.part.tolist() == ["train", "valid", "train", "train", "valid"]
    assert check_no_class_lost(made("01 01"), {}).names == made("01 01").names
    # A class without a picture for validation can still be trained.
    assert check_no_class_lost(made("01 01"), {1: "not a picture"}).part.tolist() == ["train", "train", "valid"]
    # Nor is one needed for the test.
    left = check_no_class_lost(made("012 01"), {2: "not a picture"})
    assert left.names == ["a/0.jpg", "a/1.jpg", "b/3.jpg", "b/4.jpg"]


@pytest.mark.parametrize(
    ("valid", "unreadable", "expected"),
    [
        ("01 01", {2: "not a picture", 3: "the file is empty"}, "class 'b' has no picture left: none of 2"),
        ("01 001", {2: "not a picture", 3: "the file is empty"}, "class 'b' has no training picture left: none of 2"),
        ("01 02", {2: "not a picture"}, "class 'b' has no training picture left: none of 1"),
    ],
)
def test_a_class_that_is_lost(valid: str, unreadable: dict[int, str], expected: str) -> None:
    with pytest.raises(Error) as caught:
        check_no_class_lost(made(valid), unreadable)
    assert str(caught.value) == f"root: {expected} could be decoded; the first is b/2.jpg: not a picture"


def test_validation_that_is_lost() -> None:
    with pytest.raises(Error) as caught:
        check_no_class_lost(made("01 0"), {1: "not a picture"})
    assert str(caught.value) == "root: there is no picture to validate with"
