"""The whole life of a classifier, command by command, on pictures that somebody has and on what is wrong with them.

    python tests/benchmarks/life.py DATA_FOLDER [--keep FOLDER]

DATA_FOLDER has a folder for each class. A copy gets 5 % wrong labels, fifteen duplicates and three broken files, as
`cleaning.py` plants them; a server on this machine offers all of it, and text files list the URLs. Then the seven
commands run: download, check, fit, clean (a program takes the place of the person: it relabels what it recognises as
planted among the first 15 % of what the page shows, and applies that), export, predict, serve. At the end stands what
was found, and whether the server gives the digits that `predict` gives.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import html
import http.server
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

sys.path[0] = str(Path(__file__).parents[2])  # in which the trainer is, installed or not
sys.path.append(str(Path(__file__).parent))

from cleaning import SHOWN, planted  # noqa: E402

CARD = re.compile(r'data-number="(\d+)".*?<p class="name" title="([^"]*)">', re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a folder for all that is written, which stays")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = (given.keep or Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        live(given.data, work, given.seed)


def live(data: Path, work: Path, seed: int) -> None:
    wrong, doubles = planted(data, work / "web", seed)
    sources = {path.relative_to(work / "web").as_posix(): path.read_bytes() for path in (work / "web").rglob("*.*")}
    with offered(work / "web") as address:
        classes = sorted(path.name for path in (work / "web").iterdir())
        (work / "urls").mkdir()
        for name in classes:
            urls = [f"{address}/{quote(each)}" for each in sources if each.startswith(f"{name}/")]
            (work / "urls" / f"{name}.txt").write_text("\n".join(urls) + "\n", "utf-8")
        trainer(work, "download", "urls", "bears", "--allow-private")
    saved = {path.read_bytes(): path.relative_to(work / "bears").as_posix() for path in (work / "bears").rglob("*.*")}
    where = {name: saved.get(content, "") for name, content in sources.items()}

    trainer(work, "check", "bears", "--csv", "check.csv", "--delete")
    said = (work / "check.csv").read_text("utf-8")
    found = [pair for pair in doubles if where[pair[0]] == where[pair[1]] or all(where[each] in said for each in pair)]
    trainer(work, "fit", "bears", "--size", "160", "--seed", "42", "--out", "runs/bears", "--cache", "cache")
    relabelled = cleaned(work, {where[each]: each for each in wrong if where[each]}, classes)
    trainer(work, "export", "runs/bears", "bears.classifier")
    pictures = sorted(str(path.relative_to(work)) for path in (work / "bears").rglob("*.*") if path.suffix != ".csv")
    printed = trainer(work, "predict", "bears.classifier", *pictures[:20], "--format", "json", quiet=True)
    same = served(work, pictures[:20], json.loads(printed))

    print(f"\nduplicates that download or check found: {len(found)} of {len(doubles)}")
    print(f"wrong labels among the first {SHOWN:.0%} of what clean shows: {relabelled} of {len(wrong)}")
    print(f"the server and predict give the same digits for {same} of {len(pictures[:20])} pictures")


@contextlib.contextmanager
def offered(folder: Path) -> Iterator[str]:
    """A server of the files below a folder, on this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, its name in http.server
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def trainer(work: Path, *words: str, quiet: bool = False) -> str:
    """Runs a command, shows it and what it says, and returns that."""
    print(f"\n$ trainer {' '.join(words[:6])}{' …' * (len(words) > 6)}", flush=True)
    started = time.perf_counter()
    done = subprocess.run([*COMMAND, *words], cwd=work, stdout=subprocess.PIPE, text=True, check=True)
    print("(its answer is compared below)" if quiet else done.stdout.rstrip())
    print(f"[{time.perf_counter() - started:.1f} s]", flush=True)
    return done.stdout


COMMAND = [sys.executable, "-m", "trainer"]


@contextlib.contextmanager
def beside(work: Path, *words: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A command that serves a page: its address, and the program."""
    print(f"\n$ trainer {' '.join(words)}", flush=True)
    with subprocess.Popen([*COMMAND, *words], cwd=work, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        for line in program.stdout:
            print(line.rstrip(), flush=True)
            if address := re.search(r"http://\S+", line):
                yield address[0], program
                break
        program.terminate()


def cleaned(work: Path, wrong: dict[str, str], classes: list[str]) -> int:
    """Relabels the planted pictures among the first that the page shows, applies it, and returns how many they were."""
    with beside(work, "clean", "runs/bears", "--no-browser") as (url, program), httpx.Client(base_url=url) as client:
        shown, page = [], 1
        while found := CARD.findall(client.get("./", params={"page": page}).text):
            if shown and found[0] == shown[0]:
                break
            shown += found
            page += 1
            if len(shown) % 60:
                break
        first = [(number, html.unescape(name)) for number, name in shown[: round(SHOWN * len(shown))]]
        seen = [(number, name) for number, name in first if name in wrong]
        own = {"origin": url.split("/")[0] + "//" + url.split("/")[2], "sec-fetch-site": "same-origin"}
        for number, name in seen:
            right = Path(wrong[name]).name.split("-")[1]
            choice = {"number": number, "choice": str(classes.index(right))}
            client.post("choose", data=choice, headers=own)
        plan = client.get("apply").text
        hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', plan))
        client.post("apply", data=hidden, headers=own)
        client.post("done", headers=own)
        program.wait(30)
    print(f"{len(seen)} relabelled of the first {len(first)} of {len(shown)} shown")
    return len(seen)


def served(work: Path, pictures: list[str], expected: list[dict[str, Any]]) -> int:
    """How many pictures the server judges to the digit as `predict` did."""
    with beside(work, "serve", "bears.classifier", "--port", "0") as (url, _), httpx.Client(base_url=url) as client:
        found = [client.post("predict", content=(work / each).read_bytes()).json()["results"][0] for each in pictures]
    return sum(one["classes"] == other["classes"] for one, other in zip(found, expected, strict=True))


if __name__ == "__main__":
    main()
