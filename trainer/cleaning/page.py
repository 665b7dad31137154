"""The page on which a person looks at the worst pictures, and keeps, relabels or deletes them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode

import numpy as np
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from sgdsheet.errors import Error
from sgdsheet.pictures import Unreadable
from trainer import web
from trainer.cleaning import trash
from trainer.cleaning.desk import CLEANED, ChangedError, Desk
from trainer.cleaning.thumbnails import Thumbnails
from trainer.show.text import spelled

CARDS, GROUPS = 60, 20  # on a page
LISTED = 300  # pictures that are named before something is done with them
SMALL, LARGE = 400, 1600  # pixels of the longer side
KEYS = 9  # classes that have a key and a button on each picture
LIKELY = 4  # classes that have one where there are more than that: the most probable ones of that picture
PARTS = {"train": "training", "valid": "validation", "test": "test"}
TABS = {"worst": "By loss", "alike": "Look alike", "unreadable": "Unreadable"}
MOST = 10_000  # bytes of a form
LAST = 3.0  # seconds that the last page has to get its style


@dataclass(frozen=True)
class View:
    """What of the pictures is looked at, as the address says it."""

    tab: str = "worst"
    label: int | None = None
    part: str | None = None
    page: int = 1

    def query(self, page: int | None = None, **others: Any) -> str:
        """The address of this view with another page, or of another view."""
        said = {"tab": self.tab, "class": self.label, "part": self.part, "page": page or 1} | others
        return "?" + urlencode({name: value for name, value in said.items() if value not in (None, "")})


def application(desk: Desk, end: Callable[[], None], framed: bool = False) -> Starlette:
    """The page for these pictures. `end` is called when the person is done; `framed` lets a notebook show it."""
    page = _Page(desk, end, framed)
    routes = [
        Route("/", page.shown),
        Route("/choose", page.choose, methods=["POST"]),
        Route("/choices", page.choices),
        Route("/small/{number:int}", page.small),
        Route("/large/{number:int}", page.large),
        Route("/apply", page.planned),
        Route("/apply", page.apply, methods=["POST"]),
        Route("/undo", page.undo, methods=["POST"]),
        Route("/done", page.done, methods=["POST"]),
        Route("/style.css", page.style),
        *(Route(f"/{name}", _file(name)) for name in ("clean.css", "clean.js")),
    ]
    return Starlette(routes=routes, exception_handlers={Error: page.refused})


def _file(name: str) -> Callable[[Request], Response]:
    return lambda request: web.file(name)


class _Page:
    def __init__(self, desk: Desk, end: Callable[[], None], framed: bool) -> None:
        self.desk, self.end, self.framed = desk, end, framed
        self.thumbnails, self.ending = Thumbnails(), False

    # --- looking ------------------------------------------------------------------------------------------------------

    def shown(self, request: Request) -> Response:
        desk, view = self.desk, _view(request, self.desk)
        if view.tab == "alike":
            groups, size = desk.alike(), GROUPS
        else:
            numbers = desk.unreadable() if view.tab == "unreadable" else desk.worst(view.label, view.part)
            groups, size = [[number] for number in numbers], CARDS
        pages = max(1, -(-len(groups) // size))
        page = min(view.page, pages)
        here = groups[(page - 1) * size : page * size]
        counts = {"worst": None, "alike": len(desk.alike()), "unreadable": len(desk.unreadable())}
        return self._answer(
            "clean.html",
            view=view,
            page=page,
            pages=pages,
            total=len(groups),
            first=(page - 1) * size + 1,
            groups=[self._group(group) for group in here] if view.tab == "alike" else [],
            cards=[] if view.tab == "alike" else [self._card(group[0]) for group in here],
            tabs=[(tab, words, counts[tab]) for tab, words in TABS.items()],
            parts={part: words for part, words in PARTS.items() if part in desk.parts},
            chosen=desk.counts(),
            folds=desk.judged.folds,
            keys=len(desk.classes) <= KEYS,
            back=view.query(page),
        )

    def _group(self, group: Sequence[int]) -> dict[str, Any]:
        labels = {self.desk.classes[int(self.desk.labels[number])] for number in group}
        parts = {PARTS[self.desk.parts[number]] for number in group}
        said = [f"labelled {' and '.join(map(spelled, sorted(labels)))}"] if len(labels) > 1 else []
        said += [f"in {' and '.join(sorted(parts))}"] if len(parts) > 1 else []
        return {"cards": [self._card(number) for number in group], "said": "; ".join(said)}

    def _card(self, number: int) -> dict[str, Any]:
        desk = self.desk
        card = {
            "number": number,
            "name": spelled(desk.names[number]),
            "choice": desk.choices.get(number, ""),
            "own_key": "",
        }
        if number in desk.reasons:
            return card | {"reason": desk.reasons[number], "classes": []}
        probabilities, label = desk.judged.probabilities[number], int(desk.labels[number])
        predicted = int(probabilities.argmax())
        others = [each for each in self._offered(probabilities, card["choice"]) if each != label]
        keys = (
            {each: each + 1 for each in others}
            if len(desk.classes) <= KEYS
            else dict(zip(others, range(1, 10), strict=False))
        )
        return card | {
            "label": self._class(label),
            "own_key": label + 1 if len(desk.classes) <= KEYS else "",
            "share": _share(float(probabilities[label])),
            "predicted": self._class(predicted),
            "predicted_share": _share(float(probabilities[predicted])),
            "right": predicted == label,
            "meter": round(float(probabilities[label]), 3),
            "loss": f"{desk.losses[number]:.2f}",
            "part": PARTS[desk.parts[number]],
            "classes": [(each, keys.get(each), self._class(each)) for each in others],
        }

    def _offered(self, probabilities: np.ndarray, choice: str) -> list[int]:
        """The classes that a picture has a button for."""
        if len(probabilities) <= KEYS:
            return list(range(len(probabilities)))
        likely = np.argsort(-probabilities, kind="stable")[: LIKELY + 1].tolist()
        return list(dict.fromkeys([*likely, *([int(choice)] if choice.isdecimal() else [])]))

    def _class(self, label: int) -> str:
        return spelled(self.desk.classes[label])

    def small(self, request: Request) -> Response:
        return self._picture(request, SMALL)

    def large(self, request: Request) -> Response:
        return self._picture(request, LARGE)

    def _picture(self, request: Request, side: int) -> Response:
        number = request.path_params["number"]
        if not 0 <= number < len(self.desk.names):
            return PlainTextResponse("There is no such picture.\n", 404)
        try:
            content = self.thumbnails.jpeg(self.desk.root / self.desk.names[number], side)
        except Unreadable as reason:
            return PlainTextResponse(f"{reason}\n", 404)
        return Response(content, 200, {"Cache-Control": "private, max-age=3600", **SAFE}, "image/jpeg")

    # --- choosing -----------------------------------------------------------------------------------------------------

    async def choose(self, request: Request) -> Response:
        form = await _form(request)
        choice = form.get("choice", "")
        if choice == "named":  # a class by its name, where there are too many for buttons
            choice = self._named(form.get("label", ""))
        number = _whole(form.get("number", ""))
        try:
            before = await run_in_threadpool(self.desk.choose, number, choice, form.get("instead_of"))
        except ChangedError as error:
            return self.refused(request, error)
        if not _wants_json(request):
            return RedirectResponse(f"./{_query_of(form)}#p{number}", 303)
        now = self.desk.choices.get(number, "")
        return JSONResponse({"choice": now, "before": before, "chosen": self.desk.counts()}, headers=SAFE)

    def _named(self, name: str) -> str:
        for label in range(len(self.desk.classes)):
            if name in (self._class(label), self.desk.classes[label]):
                return str(label)
        raise Error(f"there is no class {name!r}")

    def choices(self, request: Request) -> Response:
        return JSONResponse({"choices": dict(self.desk.choices), "chosen": self.desk.counts()}, headers=SAFE)

    # --- carrying out -------------------------------------------------------------------------------------------------

    def planned(self, request: Request, said: str = "", status: int = 200) -> Response:
        desk, plan = self.desk, self.desk.plan()
        sections = [
            (
                "to delete",
                plan.deletes,
                f"moved to {spelled(str(trash.trash_of(desk.root)))}, from where --undo brings them back",
            ),
            (
                "to relabel",
                list(plan.relabels),
                "moved to the folder of their class"
                if desk.in_folders
                else f"given another label in {CLEANED}; the files stay where they are",
            ),
            ("to keep", plan.keeps, f"said to be right in {CLEANED}"),
        ]
        return self._answer(
            "clean_apply.html",
            status,
            said=said,
            mark=plan.mark,
            empty=not len(plan),
            done=len(desk.done),
            sections=[
                {
                    "word": word,
                    "count": len(numbers),
                    "what": what,
                    "rows": [self._row(each, plan.relabels) for each in numbers[:LISTED]],
                }
                for word, numbers, what in sections
                if numbers
            ],
            csv=spelled(str(desk.folder / CLEANED)),
            unnamed=[spelled(name) for name in desk.unnamed()[:5]],
        )

    def _row(self, number: int, relabels: dict[int, int]) -> dict[str, Any]:
        desk = self.desk
        label = "" if number in desk.reasons else self._class(int(desk.labels[number]))
        to = self._class(relabels[number]) if number in relabels else ""
        return {
            "number": number,
            "name": spelled(desk.names[number]),
            "label": label,
            "to": to,
            "seen": number not in desk.reasons,
        }

    async def apply(self, request: Request) -> Response:
        form = await _form(request)
        try:
            await run_in_threadpool(self.desk.apply, form.get("mark", ""))
        except Error as error:
            return await run_in_threadpool(self.planned, request, spelled(str(error)), 409)
        return RedirectResponse("apply", 303)

    async def undo(self, request: Request) -> Response:
        await run_in_threadpool(self.desk.undo)
        return RedirectResponse("apply", 303)

    def done(self, request: Request) -> Response:
        """Ends once the browser has asked for the style of this last page, or else soon."""
        self.ending = True
        late = threading.Timer(LAST, self.end)
        late.daemon = True
        late.start()
        return self._answer("clean_done.html", chosen=self.desk.counts(), done=len(self.desk.done))

    def style(self, request: Request) -> Response:
        answer = web.file("style.css")
        if self.ending:
            answer.background = BackgroundTask(self.end)
        return answer

    # --- answers ------------------------------------------------------------------------------------------------------

    def _answer(self, template: str, status: int = 200, **values: Any) -> Response:
        desk = self.desk
        shared = {"root": spelled(str(desk.root)), "classes": [spelled(each) for each in desk.classes]}
        answer = web.page(template, status, **shared, **values)
        if self.framed:
            policy = answer.headers["Content-Security-Policy"]
            allowed = "frame-ancestors 'self' http://localhost:* http://127.0.0.1:* vscode-webview:"
            answer.headers["Content-Security-Policy"] = policy.replace("frame-ancestors 'none'", allowed)
        return answer

    def refused(self, request: Request, error: Exception) -> Response:
        """Says what was wrong with a request: 409 where something else was done meanwhile, or else 400."""
        status = 409 if isinstance(error, ChangedError) else 400
        if _wants_json(request):
            return JSONResponse({"error": spelled(str(error))}, status, SAFE)
        return self._answer("clean_error.html", status, error=spelled(str(error)))


SAFE = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


def _view(request: Request, desk: Desk) -> View:
    """What an address says; what it says wrongly is as if it was not said."""
    given = request.query_params
    label, tab, part = _whole(given.get("class", "")), given.get("tab", ""), given.get("part", "")
    return View(
        tab if tab in TABS else "worst",
        label if 0 <= label < len(desk.classes) else None,
        part if part in PARTS else None,
        max(1, _whole(given.get("page", ""))),
    )


def _whole(text: str) -> int:
    """A whole number in a text of a request; -1 where there is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else -1


def _share(value: float) -> str:
    """In per cent, short."""
    return "<0.1%" if 0 < value < 0.001 else f"{value:.1%}"


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form, the last of each name. Raises `Error` for one that is too long."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST:
            raise Error("the form is too long")
    fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
    return {name: values[-1] for name, values in fields.items()}


def _query_of(form: dict[str, str]) -> str:
    """Where a form without a script goes back to: a query of ours, and nothing else."""
    back = form.get("back", "")
    return back if back.startswith("?") and back.isprintable() and back.isascii() else ""


def _wants_json(request: Request) -> bool:
    return request.headers.get("accept", "") == "application/json"
