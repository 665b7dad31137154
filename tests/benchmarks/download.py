"""How fast pictures are downloaded from a server on this machine, beside aria2c and wget2; and what survives a kill.

    python tests/benchmarks/download.py [--pictures 2000] [--connections 16] [--delay 0.02]
    python tests/benchmarks/download.py --kills 50

The same files from the same server over as many connections, each program as a user would start it, in turns; the
shortest of some times each, and the seconds of the processor that the program took itself. `--delay` is what the server
waits before each answer, as one far away would. Target: at least 0.8 of their rate. The trainer decodes each
file, which the others do not: how long that alone takes on one core is said too. With `--kills` a download is killed at
random moments, and looked at, and gone on with.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import io
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

sys.path[0] = str(Path(__file__).parents[2])  # in which the trainer is, installed or not

from sgdsheet.pictures import read  # noqa: E402
from trainer.collect.download import download  # noqa: E402

TIMES = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--kills", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.kills:
            kill(Path(folder), given.kills)
        else:
            compare(Path(folder), given.pictures, given.connections, given.delay)


# --- The server -------------------------------------------------------------------------------------------------------


def drawn(count: int, width: int) -> list[bytes]:
    """JPEGs of noise, soft and fine, at 500 pixels as large as photographs are, about 60 kB."""
    rng = np.random.default_rng(0)
    files = []
    for _ in range(count):
        coarse = Image.fromarray(rng.integers(0, 255, (9, 12, 3), dtype=np.uint8))
        soft = np.asarray(coarse.resize((width, width * 3 // 4), Image.Resampling.BICUBIC), dtype=np.int16)
        pixels = np.clip(soft + rng.integers(-20, 20, soft.shape, dtype=np.int16), 0, 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=75)
        files.append(file.getvalue())
    return files


class Server:
    """Serves files of these contents, as /0.jpg, /1.jpg, …, from a process of its own."""

    def __init__(self, files: list[bytes], delay: float = 0) -> None:
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        self.process = context.Process(target=serve, args=(files, delay, there), daemon=True)
        self.process.start()
        self.port = here.recv()
        self.urls = [f"http://127.0.0.1:{self.port}/{number}.jpg" for number in range(len(files))]

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.join()


def serve(files: list[bytes], delay: float, pipe: Any) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                while (await reader.readline()).strip():
                    pass
                content = files[int(line.split()[1].strip(b"/").split(b".")[0])]
                if delay:
                    await asyncio.sleep(delay)
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(content)
                )
                writer.write(content)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=256)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


# --- Speed ------------------------------------------------------------------------------------------------------------


def compare(folder: Path, count: int, connections: int, delay: float) -> None:
    files = drawn(count, 500)
    print(f"{count:,} pictures, {sum(map(len, files)) / count / 1e3:.0f} kB each, {connections} connections", end="")
    print(f", {delay * 1e3:g} ms before each answer" if delay else "")
    with Server(files, delay) as server:
        (folder / "urls").mkdir()
        urls = folder / "urls/noise.txt"
        urls.write_text("\n".join(server.urls))
        out = folder / "out"
        many = str(connections)
        trainer = [
            sys.executable,
            "-m",
            "trainer",
            "download",
            str(urls),
            str(out),
            "--allow-private",
            "--workers",
            many,
        ]
        aria2c = ["aria2c", "-q", "-j", many, "-x", "1", "--file-allocation=none", "-d", str(out), "-i", str(urls)]
        wget2 = ["wget2", "-q", f"--max-threads={many}", "--no-robots", "-P", str(out), "-i", str(urls)]
        programs = {command[0]: command for command in (aria2c, wget2) if shutil.which(command[0])}
        programs = {"trainer": trainer, **programs}
        best: dict[str, tuple[float, float]] = {}
        for _ in range(TIMES):
            for name, command in programs.items():
                best[name] = min(best.get(name, (np.inf, 0)), timed(command, out, count))
    for name, (wall, processor) in best.items():
        print(f"{name:<8} {wall:6.2f} s, {count / wall:7,.0f} pictures/s, {processor:6.2f} s of the processor")
    for name, (wall, _) in best.items():
        if name != "trainer":
            print(f"the trainer's rate is {wall / best['trainer'][0]:.2f} of {name}'s (target: 0.80)")
    path = folder / "one.jpg"
    started = time.process_time()
    for content in files:
        path.write_bytes(content)
        read(path, 1)
    decoding = time.process_time() - started
    print(
        f"to decode them all takes {decoding:.2f} s of one core, {decoding / best['trainer'][1]:.0%} of the trainer's"
    )


def timed(command: list[str], out: Path, count: int) -> tuple[float, float]:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    environment = os.environ | {"PYTHONPATH": sys.path[0]}
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    there = sum(1 for _ in out.rglob("*.jpg"))
    assert there == count, f"{command[0]}: {there} of {count} files are there"
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


# --- Kills ------------------------------------------------------------------------------------------------------------


def kill(folder: Path, kills: int, count: int = 16) -> None:
    draw = random.Random(0)
    files = drawn(count, 60)
    whole = {hashlib.sha256(content).hexdigest()[:24]: content for content in files}
    with Server(files) as server:
        (folder / "urls").mkdir()
        for place, label in enumerate(("teddy", "black")):
            (folder / f"urls/{label}.txt").write_text("\n".join(server.urls[place::2]))
        started = time.perf_counter()
        get(folder)
        seconds = time.perf_counter() - started
        found = []
        for _ in range(kills):
            shutil.rmtree(folder / "out")
            child = os.fork()
            if not child:
                get(folder)
                os._exit(0)
            time.sleep(draw.uniform(0, 1.2 * seconds))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            found.append(look(folder / "out", whole))
            rows = get(folder)
            assert set(rows["outcome"]) == {"saved"}, set(rows["outcome"])
            assert look(folder / "out", whole) == count, "a picture is missing"
            assert sorted(each.name for each in (folder / "out").iterdir()) == ["black", "download.csv", "teddy"]
    print(
        f"{kills} times killed within {1.2 * seconds * 1e3:.0f} ms, with {min(found)} to {max(found)} of {count} there"
    )


def get(folder: Path) -> pd.DataFrame:
    return download(folder / "urls", folder / "out", workers=4, allow_private=True, show=False)


def look(out: Path, whole: dict[str, bytes]) -> int:
    """How many pictures there are. Raises `AssertionError` for one that is not whole, or a table that says else."""
    files = [each for label in ("teddy", "black") for each in (out / label).glob("*") if (out / label).exists()]
    for file in files:
        assert file.read_bytes() == whole[file.stem], f"{file} is not whole"
    table = out / "download.csv"
    if table.exists():
        text = table.read_text()
        assert text.endswith("\n"), "a line is cut off"
        for file in pd.read_csv(io.StringIO(text))["file"]:
            assert (out / file).is_file(), f"{file} is in the table, but not there"
    return len(files)


if __name__ == "__main__":
    main()
