"""Measures `trainer serve` beside `trainer predict` and beside what a user would write: a Starlette handler.

    python tests/benchmarks/serving.py --pictures FOLDER        # about five minutes
    python tests/benchmarks/serving.py --seconds 10 --requests 600
    python tests/benchmarks/serving.py --fuzz                   # schemathesis on the server's own description
    python tests/benchmarks/serving.py --kill 50                # the export is killed at random moments

EfficientNet-Lite0 at 224 pixels on all cores that there are; 32 clients, each with a connection of its own, send a
picture, wait for the answer, and send the next. It is checked that no request that was accepted fails, that the rate
is at least 0.9 of that of `predict` and twice that of the plain handler, and that the memory after 5,000 requests is
within 10 % of that after 500. The clients run in this process and take time from the server's.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import io
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path[0] = str(Path(__file__).parents[2])  # in which the trainer is, installed or not
HERE = Path(__file__).parent
CLIENTS = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pictures", type=Path, help="A folder; pictures are made otherwise.")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--requests", type=int, default=5000, help="After which the memory is looked at again.")
    parser.add_argument("--fuzz", action="store_true")
    parser.add_argument("--kill", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = exported(Path(folder) / "model.classifier")
        if given.kill:
            alone = Path(folder) / "alone/model.classifier"
            alone.parent.mkdir()
            alone.write_bytes(model.read_bytes())
            subprocess.run(
                [sys.executable, HERE.parent / "trainer/serving/killed.py", alone, str(given.kill)], check=True
            )
        elif given.fuzz:
            fuzzed(model)
        else:
            measured(model, contents(given.pictures), given.seconds, given.requests)


def exported(path: Path) -> Path:
    """A classifier with ImageNet's weights, whose head says something."""
    import torch

    from trainer import models
    from trainer.recipe import Recipe
    from trainer.serving import bundle

    network = models.create("efficientnet_lite0", 3, 224)
    torch.manual_seed(0)
    for each in models.parts(network.model)[1]:
        torch.nn.init.normal_(each, std=0.05)
    run = {
        "arch": "efficientnet_lite0",
        "model": models.library_name("efficientnet_lite0", network.model),
        "weights": network.source,
        "classes": ["one", "two", "three"],
        "size": 224,
        "multi_label": False,
        "pictures": "none",
        "recipe": Recipe().said(),
        "fits": [],
        "history": [],
        "mean": network.mean,
        "std": network.std,
    }
    bundle.write(path, network.model.state_dict(), run)
    return path


def contents(folder: Path | None, most: int = 256) -> list[bytes]:
    """Pictures as JPEG files hold them."""
    if folder is not None:
        from trainer.data.walk import walk

        files = [folder / name for name in walk(folder).all_pictures()]
        return [file.read_bytes() for file in files[:: max(1, len(files) // most)]][:most]
    rng, found = np.random.default_rng(0), []
    for _ in range(32):
        small = rng.integers(0, 255, (24, 32, 3), dtype=np.uint8)
        out = io.BytesIO()
        Image.fromarray(small).resize((640, 480), Image.Resampling.BICUBIC).save(out, "JPEG", quality=85)
        found.append(out.getvalue())
    return found


# --- Servers ----------------------------------------------------------------------------------------------------------


class Server:
    """A server in a process of its own."""

    def __init__(self, *command: str) -> None:
        environment = os.environ | {"PYTHONPATH": sys.path[0]}
        self.process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True, env=environment)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"http://([\d.]+):(\d+)", line)
        assert found, line
        self.host, self.port = found[1], int(found[2])

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)

    def cpu(self) -> float:
        """The seconds of processors that it has used."""
        said = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(said[11]) + int(said[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """What it holds, in MB (resident)."""
        said = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+)", said)
        return int(found[1]) / 1024 if found else float("nan")


def plain(path: str) -> None:
    """What a user would write around timm's model, with what its documentation shows."""
    import timm
    import torch
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    from trainer.serving import app, bundle

    card, trained = bundle.read(path)
    model = timm.create_model(card.arch.partition("/")[2], num_classes=len(card.classes))
    model.load_state_dict(trained.state_dict())
    model.eval()
    data: Any = importlib.import_module("timm.data")
    transform = data.create_transform(**data.resolve_model_data_config(model))

    async def predict(request: Request) -> JSONResponse:
        image = Image.open(io.BytesIO(await request.body())).convert("RGB")
        with torch.no_grad():
            found = model(transform(image).unsqueeze(0)).softmax(1)[0]
        return JSONResponse(dict(zip(card.classes, found.tolist(), strict=True)))

    listener = app.listening("127.0.0.1", 0)
    print(app.address(listener), flush=True)
    config = uvicorn.Config(Starlette(routes=[Route("/predict", predict, methods=["POST"])]), log_level="warning")
    uvicorn.Server(config).run(sockets=[listener])


# --- Clients ----------------------------------------------------------------------------------------------------------


async def ask(
    server: Server, pictures: list[bytes], seconds: float, requests: int
) -> tuple[list[float], int, int, float]:
    """Asks for so many seconds, or so often: the seconds of each answer, how many were busy and how many failed."""
    taken: list[float] = []
    counts = {"asked": 0, "busy": 0, "failed": 0}
    begun = time.perf_counter()

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        while time.perf_counter() - begun < seconds and counts["asked"] < requests:
            body = pictures[(counts["asked"] * 7 + number) % len(pictures)]
            counts["asked"] += 1
            started = time.perf_counter()
            writer.write(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            await reader.readexactly(int(length[1]) if length else 0)
            status = int(head.split(b" ", 2)[1])
            if status == 200:
                taken.append(time.perf_counter() - started)
            else:
                counts["busy" if status == 503 else "failed"] += 1
        writer.close()

    await asyncio.gather(*map(client, range(CLIENTS)))
    return taken, counts["busy"], counts["failed"], time.perf_counter() - begun


def asked(server: Server, pictures: list[bytes], seconds: float, requests: int = 10**9) -> dict[str, float]:
    cpu = server.cpu()
    taken, busy, failed, took = asyncio.run(ask(server, pictures, seconds, requests))
    cpu = (server.cpu() - cpu) / len(taken)
    p50, p95 = (float(np.percentile(taken, each)) for each in (50, 95))
    return {
        "rate": len(taken) / took,
        "p50": p50,
        "p95": p95,
        "busy": busy,
        "failed": failed,
        "answers": len(taken),
        "cpu": cpu,
    }


def shown(name: str, found: dict[str, float]) -> None:
    latency = f"p50 {1e3 * found['p50']:6.0f} ms   p95 {1e3 * found['p95']:6.0f} ms"
    counts = f"{found['answers']:6,.0f} answers, {found['busy']:.0f} sent away, {found['failed']:.0f} failed"
    print(f"{name:20} {rated(found['rate'], found['cpu'])}   {latency}   {counts}", flush=True)


def rated(rate: float, cpu: float) -> str:
    """The rate, and the time of one processor that a picture takes, which another program's work changes less."""
    return f"{rate:7.1f} pictures/s, {1e3 * cpu:5.1f} ms of a processor each"


def measured(model: Path, pictures: list[bytes], seconds: float, requests: int) -> None:
    from trainer import load

    print(f"{len(pictures)} pictures of {np.mean([*map(len, pictures)]) / 1e3:.0f} kB, {os.cpu_count()} cores")
    serve = ["-m", "trainer", "serve", str(model), "--port", "0"]
    # Other programs may use the machine as well: each is measured in turn, several times, and the best counts.
    rounds = max(1, round(seconds / 20))
    rates = {"predict": 0.0, "serve": 0.0, "a plain handler": 0.0}
    failed = 0.0
    for _ in range(rounds):
        predictor, count = load(model), 0
        predictor.predict(pictures[:8])
        began, cpu = time.perf_counter(), time.process_time()
        while time.perf_counter() - began < seconds / rounds / 2:
            count += len(predictor.predict(pictures))
        rate, cpu = count / (time.perf_counter() - began), (time.process_time() - cpu) / count
        predictor.close()
        print(f"{'predict':20} {rated(rate, cpu)}", flush=True)
        rates["predict"] = max(rates["predict"], rate)
        for name, command in (("serve", serve), ("a plain handler", [__file__, "--plain", str(model)])):
            with Server(*command) as server:
                asked(server, pictures, 60, 64)
                found = asked(server, pictures, seconds / rounds)
                shown(name, found)
                rates[name] = max(rates[name], found["rate"])
                failed += found["failed"] if name == "serve" else 0
    with Server(*serve) as server:
        asked(server, pictures, 3600, min(500, requests))
        before = server.memory()
        found = asked(server, pictures, 3600, requests - min(500, requests))
        after = server.memory()
        shown("serve, its memory", found)
        failed += found["failed"]
    print(f"memory: {before:.0f} MB after 500 requests, {after:.0f} MB after {requests:,} ({after / before - 1:+.1%})")
    checks = {
        "no accepted request failed": failed == 0,
        f"serve is {rates['serve'] / rates['predict']:.2f} of predict (at least 0.9)": rates["serve"]
        >= 0.9 * rates["predict"],
        f"serve is {rates['serve'] / rates['a plain handler']:.1f} times a plain handler (at least 2)": rates["serve"]
        >= 2 * rates["a plain handler"],
        "memory is flat (within 10 %)": abs(after / before - 1) <= 0.1,
    }
    for words, holds in checks.items():
        print(f"{'ok  ' if holds else 'MISS'} {words}")
    sys.exit(not all(checks.values()))


def fuzzed(model: Path) -> None:
    """Never a 500, and always what its description says."""
    from importlib.util import find_spec

    if find_spec("schemathesis") is None:
        sys.exit("this needs schemathesis: pip install schemathesis")
    with Server("-m", "trainer", "serve", str(model), "--port", "0") as server:
        url = f"http://{server.host}:{server.port}/openapi.json"
        checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
        command = [sys.executable, "-m", "schemathesis.cli", "run", url, "--checks", checks, "--max-examples", "200"]
        done = subprocess.run(command)
        sys.exit(done.returncode)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--plain"]:
        plain(sys.argv[2])
    else:
        main()
