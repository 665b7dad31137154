"""From lists of URLs to folders of pictures, a folder for each class, and a table of what became of every URL."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import shutil
import threading
import traceback
import warnings
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from sgdsheet.errors import Error, one_line, require
from sgdsheet.files import put
from sgdsheet.pictures import Unreadable, format_of, read
from trainer.cleaning import trash
from trainer.collect.fetch import Failed, Fetcher, Limits
from trainer.collect.lists import Wanted, wanted
from trainer.data.labels import counted
from trainer.results.predictions import FORMULA
from trainer.show.progress import Counted, counting, say
from trainer.show.text import plain

if TYPE_CHECKING:
    import pandas as pd

TABLE = "download.csv"
HEADS = ("class", "url", "outcome", "file", "bytes")
SCRATCH = ".download"  # below the pictures' folder: what is not yet known to be a picture; gone in the end
SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "TIFF": ".tif", "JPEG2000": ".jp2", "HEIF": ".heic"}
SAVED = "saved"
SAME = "the same picture as another"
GONE = "moved away since"  # by check or clean, and it is not to come back
LEFT = "not tried, for there are enough"
MOST = 5  # reasons of a class that are said in a summary
LONGEST = 100  # characters of a data: URL in the table


@dataclass(frozen=True)
class _Row:
    """What became of a URL. `file` is below the pictures' folder; empty where there is no picture."""

    label: str
    url: str
    outcome: str
    file: str = ""
    bytes: int = 0

    @property
    def key(self) -> tuple[str, str]:
        return self.label, self.url

    def line(self) -> str:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(map(_harmless, vars(self).values()))
        return text.getvalue()


def download(
    source: Path | str,
    out: Path | str,
    *,
    limit: int | None = None,
    workers: int = 16,
    seconds: float = 30.0,
    megabytes: float = 20.0,
    retries: int = 3,
    allow_private: bool = False,
    show: bool = True,
) -> pd.DataFrame:
    """Downloads pictures: `urls/teddy.txt` becomes `out/teddy/`. Returns what `download.csv` says: a row for each URL.

    `source` is a folder of text files with a URL in each line, one such file, or a CSV of url and label. A file is kept
    if it can be decoded, under a name made of its content, so that the same picture twice is one file. With `limit` a
    class gets no more pictures than that. Run again, it goes on: it asks for what is not there and was not moved to the
    trash folder, and for what failed.

    `workers` URLs are fetched at once; 0 fetches one after the other, and says all of each error. Each try has
    `seconds`, each file `megabytes`; after an error that may pass there are `retries` more. http and https alone, and
    no address that only this machine or its network can reach, unless `allow_private`. Proxies are not used. Raises
    `Error` for lists that cannot be used, if nothing at all can be had, or if `out` cannot be written to.
    """
    require(workers, "workers", 0, 256, whole=True)
    require(seconds, "seconds", 0.1)
    require(megabytes, "megabytes", 0.001, 2000)
    require(retries, "retries", 0, 100, whole=True)
    if limit is not None:
        require(limit, "limit", 1, whole=True)
    out = Path(out).expanduser()
    urls = wanted(Path(source).expanduser())
    limits = Limits(seconds, int(megabytes * 1e6), retries)
    with _alone(out) as scratch, Fetcher(max(workers, 1), limits, allow_private) as fetcher:
        task = _Task(out, scratch, fetcher, urls, limit, _known(out, urls))
        with counting("Downloading pictures", show) as progress, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of damage that does not keep a picture from being read
            task.run(workers, show, progress)
    put(out / TABLE, "".join([",".join(HEADS) + "\n", *(row.line() for row in task.table())]))
    frame = _frame(task.table())
    if not (frame["file"] != "").any():
        first = task.table()[0]
        raise Error(
            f"{source}: none of {counted(len(urls), 'URL')} gave a picture; {_short(first.url)}: {first.outcome}"
        )
    return frame


def summary(rows: pd.DataFrame) -> str:
    """What became of the URLs, in lines: the pictures of each class, and why others are none."""
    lines = []
    for label, own in rows.groupby("class", sort=False):
        files = {*own.loc[own["outcome"].isin([SAVED, SAME]), "file"]}
        lines.append(f"{plain(str(label))}: {counted(len(files), 'picture')} of {counted(len(own), 'URL')}")
        reasons = Counter(outcome for outcome in own["outcome"] if outcome != SAVED).most_common()
        lines += [f"  {count:,} {plain(reason)}" for reason, count in reasons[:MOST]]
        if len(reasons) > MOST:
            lines.append(f"  {sum(count for _, count in reasons[MOST:]):,} others, see {TABLE}")
    return "\n".join(lines)


class _Task:
    """The way through a list, with up to so many URLs under way, the classes in turn."""

    def __init__(
        self,
        out: Path,
        scratch: Path,
        fetcher: Fetcher,
        urls: Sequence[Wanted],
        limit: int | None,
        known: Mapping[tuple[str, str], _Row],
    ) -> None:
        self.out, self.scratch, self.fetcher, self.urls, self.limit = out, scratch, fetcher, urls, limit
        self.rows = dict(known)
        self.gone = trash.moved_from(out)
        self.files: dict[str, set[str]] = {each.label: set() for each in urls}
        for row in known.values():
            if row.file not in self.gone:
                self.files[row.label].add(row.file)
        self.waiting: dict[str, deque[Wanted]] = {each.label: deque() for each in urls}
        for each in urls:
            if _key(each) not in known:
                self.waiting[each.label].append(each)

    def table(self) -> list[_Row]:
        """A row for each URL, in the order of the lists."""
        return [self.rows.get(_key(each)) or _Row(*_key(each), LEFT) for each in self.urls]

    def run(self, workers: int, show: bool, progress: Counted) -> None:
        """Fetches all that is wanted. `progress` is called with the number of URLs that are done after each."""
        with _appended(self.out / TABLE) as append:

            def keep(row: _Row) -> None:
                append(self._kept(row))
                progress(len(self.rows), len(self.urls))

            if not workers:
                while each := self._next({}):
                    keep(self._get(each, show))
                return
            finished: SimpleQueue[Future[_Row]] = SimpleQueue()
            under_way: Counter[str] = Counter()  # URLs of each class
            with ThreadPoolExecutor(workers) as pool:
                try:
                    while True:
                        while under_way.total() < workers and (each := self._next(under_way)):
                            under_way[each.label] += 1
                            pool.submit(self._get, each).add_done_callback(finished.put)
                        if not under_way.total():
                            return
                        row = finished.get().result()
                        under_way[row.label] -= 1
                        keep(row)
                finally:
                    self.fetcher.stop()

    def _next(self, under_way: Mapping[str, int]) -> Wanted | None:
        """The next URL of the class with the fewest pictures, of those that may have more; None if there is none."""
        expected = {
            label: len(self.files[label]) + under_way.get(label, 0) for label, left in self.waiting.items() if left
        }
        if self.limit is not None:
            expected = {label: count for label, count in expected.items() if count < self.limit}
        return self.waiting[min(expected, key=expected.__getitem__)].popleft() if expected else None

    def _kept(self, row: _Row) -> _Row:
        if row.file and row.file in self.files[row.label]:
            row = _Row(row.label, row.url, SAME, row.file, row.bytes)
        if row.file and row.outcome != GONE:
            self.files[row.label].add(row.file)
        self.rows[row.key] = row
        return row

    def _get(self, each: Wanted, in_full: bool = False) -> _Row:
        """Fetches a URL and keeps what it gives, if it is a picture; or says why not."""
        label, url = _key(each)
        try:
            content = self.fetcher.fetch(each.url)
            return _Row(label, url, *self._saved(label, content), len(content))
        except Failed as failed:
            if in_full:
                say(f"{_short(each.url)}: {failed}")
                if failed.__cause__ is not None:
                    say("".join(traceback.format_exception(failed.__cause__)).rstrip())
            return _Row(label, url, str(failed))

    def _saved(self, label: str, content: bytes) -> tuple[str, str]:
        """Puts a picture into its class's folder, whole. Returns what became of it and its path. Raises `Failed`."""
        digest = hashlib.sha256(content).hexdigest()[:24]
        temporary = self.scratch / f"{digest}-{threading.get_ident()}"
        temporary.write_bytes(content)
        try:
            read(temporary, 1)  # a small part of a JPEG's sides, but to its end
            kind = format_of(temporary)
        except Unreadable as reason:
            temporary.unlink()
            raise Failed(_no_picture(content, str(reason))) from reason
        file = f"{label}/{digest}{SUFFIXES.get(kind, f'.{kind.lower()}')}"
        if file in self.gone:
            temporary.unlink()
            return GONE, file
        (self.out / label).mkdir(exist_ok=True)
        os.replace(temporary, self.out / file)
        return SAVED, file


def _no_picture(content: bytes, reason: str) -> str:
    begins = content[:500].lstrip().lower()
    if begins.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "no picture: a web page"
    if b"<svg" in begins:
        return "no picture: an SVG drawing"
    return "no picture" if reason == "not a picture" else f"not kept: {reason}"


# --- The table --------------------------------------------------------------------------------------------------------


def _key(each: Wanted) -> tuple[str, str]:
    """The class and the URL as they stand in the table; a data: URL is told by its beginning and a checksum."""
    url = each.url
    if url[:5].lower() == "data:" and len(url) > LONGEST:
        url = f"{url[: LONGEST // 2]}… {hashlib.sha256(url.encode()).hexdigest()[:16]}"
    return each.label, url


def _known(out: Path, urls: Sequence[Wanted]) -> dict[tuple[str, str], _Row]:
    """The rows of an earlier run whose pictures are there, or were moved to the trash folder or to another class."""
    try:
        text = (out / TABLE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError):
        raise Error(f"{out / TABLE}: cannot be read; remove it to begin anew") from None
    table = csv.DictReader(io.StringIO(text))
    if table.fieldnames and tuple(table.fieldnames) != HEADS:
        raise Error(f"{out / TABLE}: expected the table of an earlier download, got another file; move it away")
    moved_away, keys = trash.moved_from(out), {_key(each) for each in urls}
    known = {}
    for cells in table:
        with suppress(KeyError, TypeError, ValueError):  # a line of another program
            row = _Row(*(_as_it_was(cells[name]) for name in HEADS[:4]), bytes=int(cells["bytes"]))
            if row.key in keys and row.file in moved_away:
                known[row.key] = replace(row, outcome=GONE)
            elif row.key in keys and row.file and (out / row.file).is_file():
                known[row.key] = replace(row, outcome=SAVED) if row.outcome == GONE else row
    return known


@contextmanager
def _appended(file: Path) -> Iterator[Any]:
    """Adds a row in one piece to what the table has: who is killed leaves whole lines."""
    before = file.read_bytes() if file.exists() else b""
    begins = (",".join(HEADS) + "\n").encode() if not before else b"" if before.endswith(b"\n") else b"\n"
    handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        if begins:
            os.write(handle, begins)
        yield lambda row: os.write(handle, row.line().encode("utf-8", "backslashreplace"))
    finally:
        os.close(handle)


def _frame(rows: Sequence[_Row]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame([tuple(vars(row).values()) for row in rows], columns=list(HEADS))


def _harmless(cell: object) -> object:
    """A spreadsheet would calculate a text that begins so."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell


def _as_it_was(cell: str) -> str:
    return cell[1:] if cell[:1] == "'" and _harmless(cell[1:]) == cell else cell


def _short(url: str) -> str:
    return one_line(url, LONGEST)


# --- One run at a time ------------------------------------------------------------------------------------------------


@contextmanager
def _alone(out: Path) -> Iterator[Path]:
    """A folder for what is not yet known to be a picture, as long as no other run downloads to `out`."""
    from filelock import FileLock, Timeout

    scratch = out / SCRATCH
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        with FileLock(scratch / "lock", timeout=0):
            for left in scratch.iterdir():
                if left.name != "lock":
                    left.unlink()
            try:
                yield scratch
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    except Timeout:
        raise Error(f"{out}: another download writes to this folder; wait for its end") from None
    except OSError as error:
        raise Error(f"{error.filename or out}: cannot be written: {error.strerror or error}") from None
