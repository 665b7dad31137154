"""A folder as data: batches that a seed decides, and pictures to look at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from sgdsheet.errors import Error
from trainer.data.image_folder import ImageFolder


@pytest.fixture
def data(few: Path, tmp_path: Path) -> ImageFolder:
    return ImageFolder(few, size=24, cache=tmp_path / "cache")


def test_an_epoch_has_each_picture_at_most_once_in_an_order_of_its_own(data: ImageFolder) -> None:
    first, again, other = (
        np.concatenate([batch.numbers for batch in data.batches(epoch, 4, 42)]) for epoch in (0, 0, 1)
    )
    assert len(first) == 4 * data.steps(4)
    assert len(set(first)) == len(first)
    assert set(first) <= set(data.train)
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()
    assert not set(data.train) & set(data.valid)
    assert len(data.train) + len(data.valid) == 16


def test_what_cannot_be_decoded_is_left_out_and_moves_no_other(
    few: Path, tmp_path: Path, data: ImageFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {data.listing.names[number] for number in data.valid}
    gone = next(data.listing.names[number] for number in data.train)
    (few / gone).write_bytes(b"no picture")
    found = ImageFolder(few, size=24, cache=tmp_path / "cache")
    assert found.unreadable == {gone: "not a picture"}
    assert f"left out: {gone}: not a picture" in capsys.readouterr().out
    assert {found.listing.names[number] for number in found.valid} == before
    assert len(found.labels) == len(found.listing.names) == len(found.cache.starts) == 15
    ImageFolder(few, size=24, cache=tmp_path / "cache", show=False)
    assert not capsys.readouterr().out


def test_show_draws_training_pictures_as_they_are(data: ImageFolder) -> None:
    shown = data.show(4)
    assert shown.size[0] < shown.size[1]  # two columns, and the classes below the pictures
    colours = np.asarray(shown.convert("RGB")).reshape(-1, 3)
    assert len(np.unique(colours, axis=0)) > 1000
    assert np.array_equal(np.asarray(shown), np.asarray(data.show(4)))


def test_what_is_no_size_or_seed(few: Path) -> None:
    with pytest.raises(Error, match="size: expected at least 8, got 0"):
        ImageFolder(few, size=0)
    with pytest.raises(Error, match="seed: expected at least 0, got -1"):
        ImageFolder(few, seed=-1)


# --- What there is of each class ------------------------------------------------------------------------------------


@pytest.fixture
def uneven(tmp_path: Path, drawn: Callable[[Path, int, int], None]) -> Path:
    """12 of one class, 3 of another and 5 of a third to train with; 4 for each to validate with, and 2 to test with."""
    root = tmp_path / "uneven"
    for part, counts in (("Train", (12, 3, 5)), ("val", (4, 4, 4)), ("test", (2, 0, 2))):
        for kind, (name, count) in enumerate(zip("abc", counts, strict=True)):
            for number in range(count):
                drawn(root / part / name / f"{number}.png", kind, 100 * kind + number)
    return root


def test_the_parts_and_how_many_of_each_class_they_have(
    uneven: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ImageFolder(uneven, size=24, cache=tmp_path / "cache")
    assert data.counts().set_index("class").to_dict("index") == {
        "a": {"train": 12, "valid": 4, "test": 2},
        "b": {"train": 3, "valid": 4, "test": 0},
        "c": {"train": 5, "valid": 4, "test": 2},
    }
    for part, folder in ((data.train, "Train"), (data.valid, "val"), (data.test, "test")):
        assert part.dtype == np.int64
        assert {data.listing.names[number].split("/")[0] for number in part} == {folder}
    assert capsys.readouterr().out == f"{uneven}: train is Train, valid is val, test is test\n"
    assert repr(data) == (
        f"ImageFolder({str(uneven)!r}: 20 pictures to train with, 12 to validate with, 4 to test with, 3 classes, "
        "0 unreadable)"
    )


def test_a_test_picture_that_cannot_be_decoded_is_left_out_alone(uneven: Path, tmp_path: Path) -> None:
    for number in range(2):
        (uneven / f"test/a/{number}.png").write_bytes(b"no picture")
    data = ImageFolder(uneven, size=24, cache=tmp_path / "cache", show=False)
    assert data.counts()["test"].tolist() == [0, 0, 2]
    assert set(data.unreadable) == {"test/a/0.png", "test/a/1.png"}


def test_class_weights_make_each_class_count_alike(uneven: Path, tmp_path: Path) -> None:
    data = ImageFolder(uneven, size=24, cache=tmp_path / "cache", show=False)
    weights = data.class_weights()
    assert weights.dtype == torch.float32
    each = weights[data.labels[data.train]].double()
    torch.testing.assert_close(each.mean().item(), 1.0)
    sums = torch.zeros(3, dtype=torch.float64).index_add_(0, data.labels[data.train], each)
    torch.testing.assert_close(sums, torch.full((3,), 20 / 3, dtype=torch.float64))


@pytest.mark.parametrize("batch_size", [1, 4, 6, 20, 64])
def test_balanced_batches_have_each_class_equally_often(uneven: Path, tmp_path: Path, batch_size: int) -> None:
    data = ImageFolder(uneven, size=24, cache=tmp_path / "cache", show=False)
    plain = list(data.batches(0, batch_size, 42))
    balanced = list(data.batches(0, batch_size, 42, balanced=True))
    assert [len(batch.numbers) for batch in balanced] == [len(batch.numbers) for batch in plain]
    numbers = np.concatenate([batch.numbers for batch in balanced])
    assert set(numbers) <= set(data.train)
    classes = np.bincount(data.labels[numbers].numpy(), minlength=3)
    assert classes.max() - classes.min() <= 1
    # Within a class, each picture comes equally often.
    for label in range(3):
        often = [(numbers == number).sum() for number in data.train if data.labels[number] == label]
        assert max(often) - min(often) <= 1
    again = np.concatenate([batch.numbers for batch in data.batches(0, batch_size, 42, balanced=True)])
    other = np.concatenate([batch.numbers for batch in data.batches(1, batch_size, 42, balanced=True)])
    assert numbers.tolist() == again.tolist()
    assert numbers.tolist() != other.tolist()


def test_fewer_pictures_than_a_batch_are_one_batch(data: ImageFolder) -> None:
    (batch,) = data.batches(0, 1000, 42)
    assert data.steps(1000) == 1
    assert sorted(batch.numbers) == sorted(data.train)


# --- Several labels a picture ---------------------------------------------------------------------------------------


def tags(path: Path) -> list[str]:
    """Down, even, and three pictures without any."""
    number = int(path.stem)
    return (
        []
        if path.parent.name == "across" and number > 4
        else ["down"] * (path.parent.name == "down") + ["even"] * (number % 2 == 0)
    )


def test_several_labels_a_picture(few: Path, tmp_path: Path) -> None:
    data = ImageFolder(few, size=24, cache=tmp_path / "cache", label=tags, show=False)
    assert data.multi_label
    assert data.classes == ["down", "even"]
    assert data.labels.dtype == torch.float32
    expected = [[float(each in tags(Path(name))) for each in data.classes] for name in data.listing.names]
    assert data.labels.tolist() == expected
    assert data.counts()[["train", "valid"]].sum(axis=1).tolist() == [8, 7]
    assert "2 classes, several a picture" in repr(data)
    weights = data.class_weights()
    torch.testing.assert_close(
        (data.labels[data.train] * weights).sum() / data.labels[data.train].sum(), torch.tensor(1.0)
    )
    assert data.show(9).size[0] > 100


def test_balanced_batches_of_several_labels_have_those_without_any_too(few: Path, tmp_path: Path) -> None:
    data = ImageFolder(few, size=24, cache=tmp_path / "cache", label=tags, show=False)
    numbers = np.concatenate([batch.numbers for batch in data.batches(0, 4, 42, balanced=True)])
    labels = data.labels[numbers]
    assert (labels.sum(1) == 0).sum() == len(numbers) // 3
    assert (labels[:, 0] == 1).sum() >= len(numbers) // 3
    assert (labels[:, 1] == 1).sum() >= len(numbers) // 3


# --- Where things are -----------------------------------------------------------------------------------------------


def test_the_cache_and_what_is_kept_out_are_no_classes(
    few: Path, tmp_path: Path, drawn: Callable[[Path, int, int], None]
) -> None:
    drawn(few / "out" / "confusion.png", 0, 1)
    for _ in range(2):
        data = ImageFolder(few, size=24, cache=few / "cached", without=[few / "out"], show=False)
        assert data.classes == ["across", "down"]
        assert (few / "cached").is_dir()


def test_a_csv_with_its_options(few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    csv = tmp_path / "bears.csv"
    rows = [
        f"{number},{kind}\\{number:03},{kind[0]},{number % 4}" for kind in ("down", "across") for number in range(8)
    ]
    csv.write_text("\n".join(["n;picture;what;fold", *rows]).replace(",", ";"))
    data = ImageFolder(
        tmp_path,
        csv=csv,
        folder="few",
        path_column="picture",
        label_column="what",
        split_column="",
        suffix=".png",
        size=24,
        cache=tmp_path / "cache",
    )
    assert data.classes == ["a", "d"]
    assert len(data.labels) == 16
    assert capsys.readouterr().out == f"{csv}: pictures from picture, labels from what\n"


def test_a_cache_at_home(few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    data = ImageFolder("~/few", size=24, cache="~/cache", show=False)
    assert data.listing.root == few
    assert any((tmp_path / "cache").iterdir())
