"""The decoded pictures: what is in the file, and what happens when something changes or is interrupted."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sgdsheet.errors import Error
from trainer.data import cache
from trainer.data.cache import Cache
from trainer.data.folder import listing
from trainer.data.pictures import shrunk


def built(pictures: Path, folder: Path, size: int = 24) -> tuple[Cache, int]:
    """The cache, and how many pictures had to be decoded."""
    decoded = 0

    def progress(done: int, total: int) -> None:
        nonlocal decoded
        decoded = done

    return cache.build(listing(pictures), size, folder=folder, progress=progress), decoded


def holds_the_pictures(found: Cache, pictures: Path) -> None:
    """Each picture's pixels are those that decoding it alone gives, and its size the true one."""
    names = listing(pictures)
    for number in range(len(names.names)):
        pixels, size = shrunk(names.file(number), found.side)
        np.testing.assert_array_equal(found.picture(number), pixels)
        assert tuple(found.sizes[number]) == size


def test_each_picture_once(few: Path, tmp_path: Path) -> None:
    found, decoded = built(few, tmp_path / "cache")
    assert (decoded, found.side, found.pixels.dtype) == (16, 32, np.uint8)
    holds_the_pictures(found, few)
    again, decoded = built(few, tmp_path / "cache")
    assert decoded == 0
    holds_the_pictures(again, few)
    other, decoded = built(few, tmp_path / "cache", 32)
    assert (decoded, other.side) == (16, 40)


def test_what_changes_is_decoded_again(few: Path, tmp_path: Path, drawn: Callable[[Path, int, int], None]) -> None:
    built(few, tmp_path / "cache")
    drawn(few / "down/003.png", 2, 77)
    drawn(few / "down/new.png", 2, 78)
    (few / "across/001.png").unlink()
    found, decoded = built(few, tmp_path / "cache")
    assert decoded == 2
    holds_the_pictures(found, few)


@pytest.mark.parametrize("cut", [1, 40, 200, 700])
def test_what_was_interrupted_goes_on(few: Path, tmp_path: Path, cut: int) -> None:
    built(few, tmp_path / "cache")
    (index,) = tmp_path.glob("cache/*/index.jsonl")
    kept = index.read_bytes()[:-cut]
    index.write_bytes(kept)
    found, decoded = built(few, tmp_path / "cache")
    assert decoded == 16 - kept.count(b"\n") - (not kept.endswith(b"\n") and kept.endswith(b"}"))
    holds_the_pictures(found, few)
    assert built(few, tmp_path / "cache")[1] == 0


def test_pixels_that_are_missing_are_decoded_again(few: Path, tmp_path: Path) -> None:
    built(few, tmp_path / "cache")
    (pixels,) = tmp_path.glob("cache/*/pixels.bin")
    os.truncate(pixels, 5 * 32 * 43 * 3 + 100)
    found, decoded = built(few, tmp_path / "cache")
    assert decoded == 11
    holds_the_pictures(found, few)


def test_a_picture_that_cannot_be_read_is_listed_with_its_reason(few: Path, tmp_path: Path) -> None:
    (few / "down/003.png").write_bytes(b"no picture")
    found, _ = built(few, tmp_path / "cache")
    names = listing(few).names
    assert {names[number]: reason for number, reason in found.unreadable.items()} == {"down/003.png": "not a picture"}
    again, decoded = built(few, tmp_path / "cache")
    assert decoded == 0
    assert again.unreadable == found.unreadable


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux tells how much of a file is mapped")
def test_only_so_much_of_the_file_is_in_memory(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = built(pictures, tmp_path / "cache", 160)  # 72 pictures of 200 x 200: 8.6 MB
    numbers = np.arange(8)

    def mapped() -> int:
        """Bytes of the file that count as this process's memory."""
        entry = Path("/proc/self/smaps").read_text().split(str(tmp_path / "cache"))[1]
        match = re.search(r"Rss: +(\d+) kB", entry)
        assert match is not None
        return int(match[1]) * 1024

    def held() -> list[int]:
        return [mapped() for start in range(0, 72, 8) if found.take(numbers + start) is not None]

    assert max(held()) > 7e6
    monkeypatch.setattr(cache, "HELD", 2_000_000)
    found.take(numbers)
    assert max(held()) < 4e6
    holds_the_pictures(found, pictures)


def test_a_disk_without_room(few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda where: _Usage)
    with pytest.raises(Error, match=r"MB and 0 MB are free"):
        built(few, tmp_path / "cache")


def test_a_folder_that_cannot_be_written(few: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(Error, match="the cache cannot be written"):
        built(few, tmp_path / "taken")


class _Usage:
    free = 1000
