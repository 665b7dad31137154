"""Folders as people have them: splits by many names, collections, leftovers, and names that say the class."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sgdsheet.errors import Error
from trainer.data.folder import Listing, listing, split

Files = Callable[..., Path]


def many(count: int, *folders: str, suffix: str = ".jpg") -> list[str]:
    return [f"{folder}/{number:03}{suffix}" for folder in folders for number in range(count)]


def each(*parts: str, classes: str = "cat dog") -> list[str]:
    return [f"{part}/{name}" for part in parts for name in classes.split()]


def shown(found: Listing) -> dict[str, set[str]]:
    """The classes of the pictures in each part."""
    return {
        part: {found.classes[label] for label in found.labels[found.part == part]}
        for part in ("train", "valid", "test")
        if part in found.part
    }


def names(found: Listing, part: str) -> set[str]:
    return {name for name, its in zip(found.names, found.part, strict=True) if its == part}


def message(*arguments: object, **named: object) -> str:
    with pytest.raises(Error) as caught:
        listing(*arguments, **named)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- Splits ---------------------------------------------------------------------------------------------------------

BOTH = {"cat", "dog"}


@pytest.mark.parametrize("train", ["train", "Train", "TRAINING", "training"])
@pytest.mark.parametrize("valid", ["val", "Valid", "VALIDATION"])
@pytest.mark.parametrize("test", ["test", "Testing"])
def test_the_known_names_of_a_split(files: Files, train: str, valid: str, test: str) -> None:
    found = listing(files(*many(2, *each(train, valid, test))), valid_pct=0.9)
    assert shown(found) == {"train": BOTH, "valid": BOTH, "test": BOTH}
    for part, folder in (("train", train), ("valid", valid), ("test", test)):
        assert names(found, part) == set(many(2, *each(folder)))
    assert f"{found.root}: train is {train}, valid is {valid}, test is {test}" in found.said


def test_without_valid_it_is_drawn_from_train_and_never_from_test(files: Files) -> None:
    root = files(*many(20, *each("Training", "Testing", classes="0 1 2")))
    found = listing(root, valid_pct=0.3, seed=7)
    assert names(found, "test") == set(many(20, *each("Testing", classes="0 1 2")))
    alone = listing(root, valid_pct=0.3, seed=7, without=[root / "Testing"])
    assert names(found, "valid") == names(alone, "valid")
    # Which ones is what `split` says of the training pictures' names, as for a folder of class folders.
    training = sorted(name for name in found.names if name.startswith("Training"))
    drawn = split(training, np.array([int(name[9]) for name in training]), 0.3, 7)
    assert names(found, "valid") == {name for name, its in zip(training, drawn, strict=True) if its}
    assert f"{root}: {drawn.sum()} of 60 training pictures are drawn for validation" in found.said


@pytest.mark.parametrize("inside", ["test", "test/images"])
def test_a_test_without_classes_is_passed_over_and_said(files: Files, inside: str) -> None:
    found = listing(files(*many(3, *each("train", "val")), *many(5, inside)))
    assert shown(found) == {"train": BOTH, "valid": BOTH}
    assert "passed over: test: its 5 pictures have no classes to be scored by" in found.said
    assert f"{found.root}: train is train, valid is val" in found.said


def test_a_class_that_only_the_test_has_is_passed_over_and_said(files: Files) -> None:
    found = listing(files(*many(3, *each("train", "test")), *many(2, "test/cow")))
    assert found.classes == ["cat", "dog"]
    assert "passed over: test/cow: there is no such class to train with" in found.said


def test_a_folder_of_unlabelled_pictures_beside_classes_is_no_class(files: Files) -> None:
    found = listing(files(*many(3, "cat", "dog", "test")))
    assert found.classes == ["cat", "dog"]
    assert "passed over: test: its 3 pictures have no classes to be scored by" in found.said


def test_a_part_beside_the_classes(files: Files) -> None:
    found = listing(files(*many(3, "cat", "dog", "Valid/cat", "Valid/dog")))
    assert names(found, "valid") == set(many(3, "Valid/cat", "Valid/dog"))
    assert names(found, "train") == set(many(3, "cat", "dog"))
    assert f"{found.root}: train is the rest, valid is Valid" in found.said


@pytest.mark.parametrize("classes", ["train bus car", "valid invalid", "test control", "test tube"])
def test_words_of_a_split_can_be_classes(files: Files, classes: str) -> None:
    found = listing(files(*many(4, *classes.split())))
    assert found.classes == sorted(classes.split())
    word = classes.split()[0]
    assert f"{word} is taken for a class, and not for a part of a split" in found.said


@pytest.mark.parametrize(
    "folders",
    [
        ("training_set", "test_set"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("TrainImages", "TestImages"),
        ("train2017", "test-2017"),
        ("archive/train", "archive/test"),
        ("data/dataset/Train", "data/dataset/test"),
        ("weather/train", "weather/test"),
    ],
)
def test_other_names_of_a_split_and_folders_around_it(files: Files, folders: tuple[str, str]) -> None:
    found = listing(files(*many(9, *each(*folders)), "readme.txt"))
    assert shown(found) == {"train": BOTH, "valid": BOTH, "test": BOTH}
    assert names(found, "test") == set(many(9, *each(folders[1])))


def test_a_folder_that_may_be_a_test_is_said_to_be_a_class(files: Files) -> None:
    found = listing(files(*many(3, "cat", "dog", "test_images")))
    assert found.said == ["test_images is taken for a class, and not for a part of a split"]


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (
            [*each("train2017", "val2017", classes="a b"), "unlabeled2017"],
            None,  # what they hold bears it out
        ),
        (
            ["train2017", "val2017", "unlabeled2017"],
            "{root}: train2017, val2017 look like a split, but not by the folders in them; call them train, valid and "
            "test, or, if all are classes, label='^([^/]+)/'",
        ),
        (
            ["trainA", "trainB", "testA", "testB"],
            "{root}: both testA and testB could be the folder of test; keep one of them out with "
            "without=['{root}/testB']",
        ),
        (
            each("train", "extra"),
            "{root}: train holds folders (cat, dog) and has extra beside it; give {root}/train if its folders are the "
            "classes, or, if it is a class itself, label='^([^/]+)/'",
        ),
    ],
)
def test_what_might_be_a_split_is_not_guessed(files: Files, folders: list[str], expected: str | None) -> None:
    root = files(*many(3, *folders))
    if expected is None:
        assert names(listing(root), "valid") == set(many(3, *each("val2017", classes="a b")))
    else:
        assert message(root) == expected.format(root=root)


def test_what_is_beside_a_split_is_said(files: Files) -> None:
    found = listing(
        files(
            *many(3, *each("train", "valid"), "more/cow"), "x.jpg", "valid/y.jpg", "valid/cat/notes.txt", "train/z.jpg"
        )
    )
    assert found.classes == ["cat", "dog"]
    assert "passed over: more (beside the folders of the split)" in found.said
    assert "passed over: 1 picture beside the folders, as x.jpg" in found.said
    assert "passed over: 1 picture beside the folders, as valid/y.jpg" in found.said
    assert "passed over: 1 picture beside the folders, as z.jpg" in listing(found.root / "train", without="x").said
    assert "left out: 1 .txt file, no pictures by their names" in found.said


def test_train_alone(files: Files) -> None:
    assert shown(listing(files(*many(9, *each("train")), "sample_submission.csv"))) == {"train": BOTH, "valid": BOTH}


# --- Folders that are no classes ------------------------------------------------------------------------------------


def test_folders_that_hold_the_same_folders_are_no_classes(files: Files) -> None:
    root = files(*many(3, *each("fold1", "fold2", "fold3"), "fold1/cow"))
    assert message(root) == (
        f"{root}: expected a folder for each class, but fold1, fold2, fold3 hold the same folders, cat, dog: they look "
        "like the splits of a set, or like sets; give one of them, or a CSV with a column split; if they are the "
        "classes, label='^([^/]+)/'"
    )
    assert listing(root, label="^([^/]+)/").classes == ["fold1", "fold2", "fold3"]


def test_classes_with_splits_inside_are_refused_too(files: Files) -> None:
    assert "cat, dog hold the same folders, test, train: " in message(
        files(*many(3, *each("cat", "dog", classes="train test")))
    )


def test_sets_inside_of_train_are_refused_with_the_rule_for_them(files: Files) -> None:
    root = files(*many(3, *each("train/one", "train/two", "valid/one", "valid/two")))
    said = message(root)
    assert said.startswith(f"{root}/train: expected a folder for each class, but one, two hold the same folders")
    assert said.endswith("label='^[^/]+/([^/]+)/'")
    assert listing(root, label="^[^/]+/([^/]+)/").classes == ["one", "two"]


def test_folders_in_classes_are_still_part_of_them(files: Files) -> None:
    few_inside = files(*many(9, "cat", "dog"), *many(2, *each("cat", "dog", classes="old new")))
    assert listing(few_inside).classes == ["cat", "dog"]


def test_each_class_with_a_folder_images(files: Files) -> None:
    assert listing(files(*many(3, *each("cat", "dog", "cow", classes="images")))).classes == ["cat", "cow", "dog"]


def test_images_beside_annotations(files: Files) -> None:
    root = files(*many(3, *each("Images")), "Annotation/cat/000", "Annotation/cat/001", "lists/test_list.mat")
    found = listing(root)
    assert found.classes == ["cat", "dog"]
    assert f"{root}: all pictures are in Images, whose folders are taken" in found.said
    assert "passed over: Annotation: no pictures in it, but 2 files without a suffix" in found.said
    assert "passed over: lists (no pictures in it)" in found.said


@pytest.mark.parametrize("folders", [["images", "annotations/trimaps"], each("images", "masks")])
def test_images_beside_pictures_of_another_kind(files: Files, folders: list[str]) -> None:
    root, other = files(*many(3, *folders)), folders[-1].partition("/")[0]
    assert message(root) == (
        f"{root}: expected a folder for each class; 'images' is hardly one, and beside it {other} has pictures as "
        f"well; give {root}/images, or, if all are classes, label='^([^/]+)/'"
    )


def test_a_folder_of_the_same_name_inside(files: Files) -> None:
    root = files(*many(3, *each("root")))
    assert listing(root).classes == ["cat", "dog"]
    assert names(listing(root), "train") | names(listing(root), "valid") == set(many(3, *each("root")))


# --- What is passed over --------------------------------------------------------------------------------------------


def test_what_programs_leave_behind(files: Files) -> None:
    root = files(
        *many(3, "cat", "dog"), ".cache/x.jpg", ".idea/", ".Trashes/1.jpg", "lost+found/", "empty/", "notes/a.txt"
    )
    files(
        "cat/@eaDir/000.jpg/SYNOPHOTO_THUMB.jpg",
        "cat/.thumbnails/0.jpg",
        "dog/Thumbs.db",
        "dog/._001.jpg",
        "cat/desktop.ini",
    )
    found = listing(root)
    assert found.names == many(3, "cat", "dog")
    assert found.said == [
        "passed over: .Trashes, .cache, .idea, lost+found, cat/.thumbnails, … (6) (hidden, or left behind by "
        "a program)",
        "passed over: empty, notes (no pictures in them)",
    ]


def test_a_folder_that_nobody_may_read_is_not_looked_into(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    root, scandir = files(*many(3, "cat", "dog"), "lost+found/"), os.scandir

    def guarded(path: Path) -> object:
        assert "lost+found" not in str(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    assert listing(root).classes == ["cat", "dog"]


def test_what_runs_and_caches_write_is_no_class(files: Files) -> None:
    root = files(*many(3, "cat", "dog"), "runs/1/checkpoint.safetensors", "runs/1/confusion.png", "old/run.json")
    files(
        "old/history.csv",
        "old/top_losses.png",
        "c/bears-80/pixels.bin",
        "c/bears-80/index.jsonl",
        "out/x.png",
        "k/y.png",
    )
    found = listing(root, without=[root / "out", str(root / "k")])
    assert found.names == many(3, "cat", "dog")
    assert found.said == [
        "passed over: k, out (kept out)",
        "passed over: old, c/bears-80, runs/1 (written by a run of this trainer)",
    ]


def test_a_folder_that_is_kept_out_is_known_by_any_of_its_paths(files: Files, tmp_path: Path) -> None:
    root = files(*many(3, "cat", "dog", "runs"))
    (tmp_path / "link").symlink_to(root / "runs")
    assert listing(root, without=[tmp_path / "link"]).classes == ["cat", "dog"]
    assert listing(root, without=str(tmp_path / "link")).classes == ["cat", "dog"]
    # That of the pictures itself, and one around it, keep nothing out.
    assert listing(root, without=[root, tmp_path]).classes == ["cat", "dog", "runs"]


def test_a_run_in_the_folder_of_the_pictures_itself(files: Files) -> None:
    names = [f"{name}_{number}.jpg" for name in ("cat", "dog") for number in range(3)]
    root = files(*names, "checkpoint.safetensors", "confusion.png", "losses.png", "tensorboard/events")
    assert listing(root, label="^(.+)_").names == names


def test_what_is_not_read_is_counted_by_kind(files: Files) -> None:
    root = files(*many(9, "black", "grizzly"), "teddy/1.TIF", *many(5, "teddy", suffix=".HEIC"), "black/a.nef")
    found = listing(files("black/labels.txt", "black/noname", "grizzly/deep/b", "grizzly/x.xyz"))
    assert [name for name in found.names if "teddy" in name] == ["teddy/1.TIF"]
    assert found.said == [
        "left out: 5 .heic, 1 .nef files, which Pillow cannot read here; convert them to .jpg, or pip install "
        "pillow-heif",
        "left out: 1 .txt, 1 .xyz files and 2 files without a suffix, no pictures by their names",
        "class 'teddy' keeps 1 of 6 files; left out: 5 .heic files",
    ]
    assert root == found.root


# --- Names that say the class ---------------------------------------------------------------------------------------

PETS = [f"{breed}_{number}.jpg" for breed in ("great_pyrenees", "Bengal", "Sphynx") for number in range(6)]


def test_a_regular_expression_on_the_names(files: Files) -> None:
    found = listing(files(*PETS, "Abyssinian_100.mat"), label=r"^(.+)_\d+\.jpg$")
    assert found.classes == ["Bengal", "Sphynx", "great_pyrenees"]
    for name, label in zip(found.names, found.labels, strict=True):
        assert name.startswith(found.classes[label])
    # Which ones validate follows from their names as ever.
    drawn = split(found.names, found.labels, 0.2, 42)
    assert ((found.part == "valid") == drawn).all()


def test_a_regular_expression_looks_at_the_name_alone_without_a_slash(files: Files) -> None:
    root = files(*(f"in_{number % 2}/{name}" for number, name in enumerate(PETS)))
    assert listing(root, label=r"^(.+)_\d+\.jpg$").classes == ["Bengal", "Sphynx", "great_pyrenees"]
    assert listing(root, label=r"^in_(\d)/").classes == ["0", "1"]


def test_a_function_on_the_path(files: Files) -> None:
    root = files(*PETS)
    given = []

    def kind(path: Path) -> str:
        given.append(path)
        return "cat" if path.name[0].isupper() else "dog"

    found = listing(root, label=kind)
    assert found.classes == ["cat", "dog"]
    assert sorted(given) == sorted(root / name for name in PETS)
    assert not found.multi_label
    assert listing(root, label=lambda path: path.name[0].isupper()).classes == ["False", "True"]


def test_a_function_of_several_labels(files: Files) -> None:
    found = listing(files(*PETS), label=lambda path: [word for word in path.stem.split("_") if not word.isdigit()][:2])
    assert found.multi_label
    assert found.classes == ["Bengal", "Sphynx", "great", "pyrenees"]
    assert found.labels.dtype == np.float32
    expected = [[float(each in name) for each in found.classes] for name in found.names]
    np.testing.assert_array_equal(found.labels, expected)
    for label in range(4):
        assert {"train", "valid"} == set(found.part[found.of(label)])


def test_a_picture_without_a_label_among_those_with_several(files: Files) -> None:
    found = listing(
        files(*PETS), label=lambda path: ["Bengal"] * path.name.startswith("B") + ["0"] * ("0" in path.name)
    )
    assert (found.labels.sum(1) == 0).sum() == 10
    assert found.classes == ["0", "Bengal"]


def test_a_rule_within_a_split(files: Files) -> None:
    root = files(*(f"train/{name}.{number}.jpg" for name in ("cat", "dog") for number in range(9)), *many(5, "test"))
    found = listing(root, label=r"^(\w+)\.\d+\.jpg$")
    assert shown(found) == {"train": BOTH, "valid": BOTH}
    assert "passed over: 5 test pictures without a label, as test/000.jpg" in found.said


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (
            r"^(.+)_\d\.jpg",
            "label: '^(.+)_\\\\d\\\\.jpg' gives no class for 'odd.jpg' below {root}, the first of 2 pictures",
        ),
        (
            "(",
            "label: expected a regular expression or a function, got '(': missing ), unterminated subpattern at "
            "position 0",
        ),
        (
            r".+_\d",
            "label: expected a regular expression with one group in brackets, which is the class, as '^(.+)_[0-9]+', "
            "got 0 groups in '.+_\\\\d'",
        ),
        (
            lambda path: None,
            "label: the function <lambda> gives no class for 'Bengal_0.jpg' below {root}, the first of 20 pictures",
        ),
        (
            3,
            "label: expected a regular expression or a function, got 3: first argument must be string or "
            "compiled pattern",
        ),
    ],
)
def test_rules_that_do_not_fit(files: Files, label: object, expected: str) -> None:
    root = files(*PETS, "odd.jpg", "odder.jpg")
    assert message(root, label=label) == expected.format(root=root)


def test_what_is_for_a_csv_is_refused_without_one(files: Files) -> None:
    root = files(*many(3, "cat", "dog"))
    expected = f"label_column: it says how to read a CSV, but {root} is a folder; give csv as well"
    assert message(root, label_column="breed") == expected


def test_a_home_folder(files: Files, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files(*many(3, *each("bears"), "bears/runs"), "bears.csv").joinpath("bears.csv").write_text(
        "path,label\n" + "".join(f"{name},{name[6]}\n" for name in many(3, *each("bears")))
    )
    monkeypatch.setenv("HOME", str(tmp_path / "root"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "root"))
    assert listing("~/bears", without=["~/bears/runs"]).classes == ["cat", "dog"]
    assert listing("~/bears.csv").classes == ["c", "d"]
    assert listing("~", csv="~/bears.csv").classes == ["c", "d"]
