"""The decoded pictures: what is in the file, and what happens when something changes or is interrupted."""

from __future__ import annotations

import errno
import mmap
import os
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

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
        assert tuple(found.shapes[number]) == pixels.shape[:2]
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


def test_pictures_keep_their_proportions(few: Path, tmp_path: Path) -> None:
    shapes = {(64, 64): (32, 32), (90, 60): (32, 48), (30, 200): (128, 32), (500, 10): (32, 128), (1, 1): (32, 32)}
    for number, size in enumerate(shapes):
        Image.effect_noise(size, 90).convert("RGB").save(few / f"down/00{number}.png")
    found, _ = built(few, tmp_path / "cache")
    holds_the_pictures(found, few)
    assert [tuple(shape) for shape in found.shapes[8:13]] == list(shapes.values())
    assert len(found.pixels) == found.shapes.prod(1).sum()


def test_take_copies_pictures_one_after_the_other(few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.effect_noise((30, 200), 90).convert("RGB").save(few / "down/003.png")
    (few / "down/004.png").write_bytes(b"no picture")
    found, _ = built(few, tmp_path / "cache")
    for _ in range(2):
        for chosen in ([3], [5, 11, 5, 0, 12, 10], [*range(16)], [9, 8, 7, 2, 3, 4], []):
            numbers = np.array(chosen, dtype=np.int64)
            count = found.shapes[numbers].prod(1).sum()
            room = np.full((count + 7, 3), 99, dtype=np.uint8)
            for taken, starts in (found.take(numbers), found.take(numbers, room)):
                assert taken.shape == (count, 3)
                for number, start in zip(numbers, starts, strict=True):
                    picture = found.picture(number).reshape(-1, 3)
                    np.testing.assert_array_equal(taken[start : start + len(picture)], picture)
            assert (room[count:] == 99).all()
        assert found.picture(12).shape == (0, 0, 3)  # the one that cannot be read
        for bad in (np.empty((99, 3), dtype=np.uint8), np.empty((9999, 4), dtype=np.uint8), np.empty((9999, 3))):
            with pytest.raises(ValueError, match=r"out: expected uint8 \(4,032 or more, 3\)"):
                found.take(np.array([0, 1, 2]), bad)
        monkeypatch.delattr(os, "preadv", raising=False)  # as on Windows


def test_kept_is_the_same_file_with_other_numbers(few: Path, tmp_path: Path) -> None:
    (few / "down/003.png").write_bytes(b"no picture")
    found, _ = built(few, tmp_path / "cache")
    numbers = np.array([15, 2, 11, 7])
    kept = found.kept(numbers)
    assert (len(kept.starts), len(kept.shapes), len(kept.sizes)) == (4, 4, 4)
    assert kept.unreadable == {2: "not a picture"}
    for new, old in enumerate(numbers):
        np.testing.assert_array_equal(kept.picture(new), found.picture(old))
    assert kept.pixels is found.pixels


@pytest.mark.parametrize("error", [OSError(errno.ENOMEM, "no"), None])
def test_a_file_larger_than_the_memory(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    class Map(mmap.mmap):
        def __new__(cls, *given: Any, access: int) -> Any:
            if error and access == mmap.ACCESS_COPY:  # what the system promises memory for
                raise error
            return super().__new__(cls, *given, access=access)

    monkeypatch.setattr(cache.mmap, "mmap", Map)
    holds_the_pictures(built(few, tmp_path / "cache")[0], few)


def test_what_changes_is_decoded_again(few: Path, tmp_path: Path, drawn: Callable[[Path, int, int], None]) -> None:
    built(few, tmp_path / "cache")
    drawn(few / "down/003.png", 2, 77)
    drawn(few / "down/new.png", 2, 78)
    (few / "across/001.png").unlink()
    found, decoded = built(few, tmp_path / "cache")
    assert decoded == 2
    holds_the_pictures(found, few)


def test_a_picture_that_changes_keeps_its_place_if_its_shape_is_the_same(
    few: Path, tmp_path: Path, drawn: Callable[[Path, int, int], None]
) -> None:
    before, _ = built(few, tmp_path / "cache")
    drawn(few / "down/003.png", 2, 77)
    same, _ = built(few, tmp_path / "cache")
    assert same.starts.tolist() == before.starts.tolist()
    holds_the_pictures(same, few)
    Image.open(few / "down/003.png").transpose(Image.Transpose.ROTATE_90).save(few / "down/003.png")
    other, decoded = built(few, tmp_path / "cache")
    assert decoded == 1
    assert other.starts[11] == len(before.pixels)
    holds_the_pictures(other, few)
    # Who still has the old one mapped sees what was there.
    np.testing.assert_array_equal(before.picture(11), same.picture(11))


def test_a_picture_replaced_by_one_of_the_same_size_and_time(few: Path, tmp_path: Path) -> None:
    pictures = [Image.effect_noise((50, 40), 60).convert("RGB") for _ in range(2)]
    for path in (few / "down/001.bmp", few / "down/002.bmp"):
        pictures[0].save(path)
        os.utime(path, ns=(10**18, 10**18))
    built(few, tmp_path / "cache")
    pictures[1].save(few / "down/001.bmp")
    pictures[1].save(tmp_path / "new.bmp")
    shutil.move(tmp_path / "new.bmp", few / "down/002.bmp")
    for path in (few / "down/001.bmp", few / "down/002.bmp"):
        os.utime(path, ns=(10**18, 10**18))
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
    os.truncate(pixels, 5 * 32 * 42 * 3 + 100)
    found, decoded = built(few, tmp_path / "cache")
    assert decoded == 11
    holds_the_pictures(found, few)


def test_what_lay_where_others_lie_now_is_forgotten(few: Path, tmp_path: Path) -> None:
    first, _ = built(few, tmp_path / "cache")
    (pixels,) = tmp_path.glob("cache/*/pixels.bin")
    shutil.move(few / "down/007.png", tmp_path / "away.png")  # the last in the file
    os.truncate(pixels, 3 * int(first.starts[14]) + 10)
    built(few, tmp_path / "cache")
    Image.effect_noise((50, 40), 60).convert("RGB").save(few / "down/new.png")
    built(few, tmp_path / "cache")
    shutil.move(tmp_path / "away.png", few / "down/007.png")
    found, _ = built(few, tmp_path / "cache")
    holds_the_pictures(found, few)
    places = np.argsort(found.starts)
    assert (np.diff(found.starts[places]) >= found.shapes[places].prod(1)[:-1]).all()


@pytest.mark.parametrize("seed", range(6))
def test_an_index_that_is_garbled(few: Path, tmp_path: Path, seed: int) -> None:
    built(few, tmp_path / "cache")
    (index,) = tmp_path.glob("cache/*/index.jsonl")
    rng = np.random.default_rng(seed)
    content = np.frombuffer(index.read_bytes(), dtype=np.uint8).copy()
    places = rng.integers(0, len(content), 5)
    # A digit becomes another one, so that a line may still be of a form that makes sense.
    content[places] = np.where(content[places] - 48 < 10, 48 + rng.integers(0, 10, 5), rng.integers(0, 256, 5))
    index.write_bytes(content.tobytes())
    found, decoded = built(few, tmp_path / "cache")
    assert decoded <= 6
    holds_the_pictures(found, few)
    assert built(few, tmp_path / "cache")[1] == 0


@pytest.mark.parametrize(
    "content", [b"", b"[]\n{}\nnull\n", bytes(1000), b"\xff" * 1000, b'{"name": "down/003.png", "crc32": 0}']
)
def test_an_index_that_is_none(few: Path, tmp_path: Path, content: bytes) -> None:
    built(few, tmp_path / "cache")
    (index,) = tmp_path.glob("cache/*/index.jsonl")
    index.write_bytes(content)
    found, decoded = built(few, tmp_path / "cache")
    assert decoded == 16
    holds_the_pictures(found, few)
    index.unlink()
    assert built(few, tmp_path / "cache")[1] == 16


@pytest.mark.parametrize(
    "change",
    [
        {"start": -1},
        {"start": 1.5},
        {"width": 0},
        {"width": 16, "height": 64},
        {"size": [0, 0]},
        {"size": "wide"},
        {"reason": 5},
        {"name": None},
        {"start": True},
        {"start": 10**12},
    ],
)
def test_a_row_that_says_what_cannot_be_is_decoded_anew(few: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    built(few, tmp_path / "cache")
    (index,) = tmp_path.glob("cache/*/index.jsonl")
    first, *others = index.read_text().splitlines()
    index.write_text("\n".join([cache._to_line((cache._from_line(first) or {}) | change), *others, ""]))
    found, decoded = built(few, tmp_path / "cache")
    assert decoded == 1
    holds_the_pictures(found, few)


def test_pixels_that_are_gone_while_they_are_used(few: Path, tmp_path: Path) -> None:
    if not hasattr(os, "preadv"):
        pytest.skip("only where files are read from")
    found, _ = built(few, tmp_path / "cache")
    (pixels,) = tmp_path.glob("cache/*/pixels.bin")
    os.truncate(pixels, 1000)
    with pytest.raises(Error, match="the pixels of some pictures are gone; start again"):
        found.take(np.arange(16))


def test_a_cache_of_squares_is_left_alone(few: Path, tmp_path: Path) -> None:
    old = tmp_path / "cache" / f"{cache._digest(few)}-32"
    old.mkdir(parents=True)
    (old / "pixels.bin").write_bytes(bytes(5 * 32 * 32 * 3))
    (old / "index.jsonl").write_text(
        '{"name": "down/003.png", "bytes": 1, "changed": 1, "row": 0, "width": 1, "height": 1}'
    )
    found, decoded = built(few, tmp_path / "cache")
    assert decoded == 16
    holds_the_pictures(found, few)
    assert sorted(path.name for path in old.iterdir()) == ["index.jsonl", "pixels.bin"]


def test_two_at_once_decode_each_picture_once(few: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: built(few, tmp_path / "cache"), range(2)))
    assert sorted(decoded for _, decoded in both) == [0, 16]
    for found, _ in both:
        holds_the_pictures(found, few)


def refuse(monkeypatch: pytest.MonkeyPatch, gone: Path, number: int) -> None:
    opened = Path.open

    def refused(path: Path, *given: Any, **more: Any) -> Any:
        if path == gone:
            raise OSError(number, os.strerror(number))
        return opened(path, *given, **more)

    monkeypatch.setattr(Path, "open", refused)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE, errno.ETIMEDOUT])
def test_what_the_system_refused_is_tried_again(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    refuse(monkeypatch, few / "down/003.png", number)
    for _ in range(2):
        found, _ = built(few, tmp_path / "cache")
        assert list(found.unreadable) == [11]
        assert ("permission" if number == errno.EACCES else os.strerror(number)) in found.unreadable[11]
    monkeypatch.undo()
    found, decoded = built(few, tmp_path / "cache")
    assert (decoded, found.unreadable) == (1, {})
    holds_the_pictures(found, few)


def test_a_permission_that_is_given_back(few: Path, tmp_path: Path) -> None:
    (few / "down").chmod(0)
    if os.access(few / "down/003.png", os.R_OK):
        (few / "down").chmod(0o755)
        pytest.skip("root may read everything")
    names = listing(few)
    (few / "down").chmod(0o755)
    (few / "down/003.png").chmod(0)
    assert "permission" in cache.build(names, 24, folder=tmp_path / "cache").unreadable[11]
    (few / "down/003.png").chmod(0o644)
    holds_the_pictures(built(few, tmp_path / "cache")[0], few)


def test_what_one_pillow_cannot_read_another_one_may(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (few / "down/003.png").write_bytes(b"no picture")
    assert built(few, tmp_path / "cache")[0].unreadable == {11: "not a picture"}
    assert built(few, tmp_path / "cache")[1] == 0
    monkeypatch.setattr(cache, "decoders", lambda: "Pillow 99")
    found, decoded = built(few, tmp_path / "cache")
    assert (decoded, found.unreadable) == (1, {11: "not a picture"})
    assert built(few, tmp_path / "cache")[1] == 0


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
    found, _ = built(pictures, tmp_path / "cache", 160)  # 72 pictures of 200 x 267: 11.5 MB
    some = found.kept(np.arange(60))

    def mapped() -> int:
        """Bytes of the file that count as this process's memory."""
        entry = Path("/proc/self/smaps").read_text().split(str(tmp_path / "cache"))[1]
        match = re.search(r"Rss: +(\d+) kB", entry)
        assert match is not None
        return int(match[1]) * 1024

    def held() -> list[int]:
        counts = []
        for number in range(60):
            assert found.picture(number).any()
            assert some.picture(59 - number).any()
            if number % 5 == 4:
                counts.append(mapped())
        return counts

    for start in range(0, 72, 8):
        found.take(np.arange(start, start + 8))
    assert mapped() < 1e6
    assert max(held()) > 9e6
    monkeypatch.setattr(cache, "HELD", 2_000_000)
    assert max(held()) < 4e6
    holds_the_pictures(found, pictures)


def test_a_disk_without_room(few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda where: _Usage)
    with pytest.raises(Error, match=r"MB and 0 MB are free"):
        built(few, tmp_path / "cache")


def test_a_disk_that_fills_up(few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    def full(held: dict[str, Any]) -> str:
        if len(written) == 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(to_line(held))
        return written[-1]

    to_line = cache._to_line
    monkeypatch.setattr(cache, "_to_line", full)
    with pytest.raises(Error, match="the disk is full; free some room"):
        built(few, tmp_path / "cache")
    monkeypatch.undo()
    found, decoded = built(few, tmp_path / "cache")
    assert decoded == 11
    holds_the_pictures(found, few)


def test_a_folder_that_cannot_be_written(few: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(Error, match="the cache cannot be written"):
        built(few, tmp_path / "taken")


class _Usage:
    free = 1000
