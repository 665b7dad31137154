"""From a run to its page: what the command line and a notebook share."""

from __future__ import annotations

import html
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sgdsheet.errors import Error
from sgdsheet.local_server import LocalServer
from trainer.cleaning.desk import CLEANED, Desk
from trainer.cleaning.judging import judged
from trainer.cleaning.run import Run
from trainer.show.progress import say
from trainer.training import checkpoint

if TYPE_CHECKING:
    from trainer.classifier import Classifier


def server(
    run: Run, folder: Path, *, folds: int = 3, port: int = 0, framed: bool = False, show: bool = True
) -> LocalServer:
    """Returns the page for a run, not yet served; what is chosen is kept in `folder`.

    Raises `Error` for pictures that may have several labels, for `folds` that make no sense, and if the port is taken.
    """
    from trainer.cleaning.page import application

    data = run.setup.data
    if data.multi_label:
        raise Error(f"{data.listing.root}: its pictures may have several labels each; clean is for those with one")
    desk = Desk(data, judged(run, folds, folder, show), folder, run.pictures)
    made = LocalServer(application(desk, lambda: made.end(), framed), port)
    return made


class Page:
    """A page that is served in a thread at `url`; a notebook shows it."""

    def __init__(self, server: LocalServer) -> None:
        self._server, self.url = server, server.url

    def end(self) -> None:
        """Serves it no longer."""
        self._server.end()
        self._server.wait()

    def __repr__(self) -> str:
        return f"<Page {self.url}>"

    def _repr_html_(self) -> str:
        url = html.escape(self.url)
        return (
            f'<p><a href="{url}" target="_blank">in a window of its own</a></p>'
            f'<iframe src="{url}" width="100%" height="900" style="border: 0"></iframe>'
        )


def page_of(classifier: Classifier, folder: Path, folds: int) -> Page:
    """Serves the page for a classifier that is in memory, and says where."""
    from trainer.classifier import fingerprint

    checkpoint.prepare(folder)
    run = Run(classifier.scored.eval(), classifier.setup, classifier.begun, fingerprint(classifier.data))
    made = server(run, folder, folds=folds, framed=True, show=classifier.show)
    made.start()
    say(
        f"{made.url}\nnothing is touched until the page is told to apply it; {folder / CLEANED} then says what was done"
    )
    return Page(made)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Raises `Error` if another program shows the page of this run."""
    from filelock import FileLock, Timeout

    if not folder.is_dir():
        raise Error(f"{folder}: there is no such folder; expected that of a run, as `trainer fit --out` writes it")
    lock = FileLock(folder / ".cleaning.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise Error(f"{folder}: its page is shown by another program; use that one, or end it") from None
    except OSError as error:
        raise Error(f"{folder}: cannot be written to: {error.strerror or error}") from None
    try:
        yield
    finally:
        lock.release()
