"""A folder as data: batches that a seed decides, and pictures to look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

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
