"""A Dockerfile for a classifier's server."""

from __future__ import annotations

import json
from pathlib import Path

from sgdsheet.errors import Error
from sgdsheet.files import put
from trainer.serving.bundle import Card

FIRST = "# A server for an exported classifier, written by `trainer serve --dockerfile`."


def write(file: Path, card: Card) -> Path:
    """Writes a Dockerfile beside a classifier's file, for an image without a GPU; returns where it is.

    The versions are those by which the classifier was made. Raises `Error` where another Dockerfile is there already.
    """
    path = file.parent / "Dockerfile"
    if path.exists() and not path.read_bytes().startswith(FIRST.encode()):
        raise Error(f"{path}: there is another Dockerfile already; move it, or the classifier to a folder of its own")
    put(path, _text(file.name, card.provenance.get("versions", {})))
    return path


def _text(name: str, versions: dict[str, str]) -> str:
    def pinned(*packages: str) -> str:
        return " ".join(
            f"{each}=={versions[each].partition('+')[0]}" if each in versions else each for each in packages
        )

    package = pinned("sgdsheet").replace("sgdsheet", "sgdsheet[trainer]")
    command = ["trainer", "serve", "model.classifier", "--host", "0.0.0.0", "--port", "8000"]
    return f"""{FIRST}
#
#     docker build -t classifier .
#     docker run --rm -p 8000:8000 classifier
#
# PyTorch has builds without CUDA, some gigabytes smaller, in an index of its own: --build-arg TORCH_INDEX=URL
# PACKAGE may also be a wheel or a repository: --build-arg PACKAGE='sgdsheet[trainer] @ git+https://…'
FROM python:3.12-slim
ARG TORCH_INDEX=
ARG PACKAGE={package}
RUN pip install --no-cache-dir ${{TORCH_INDEX:+--index-url "$TORCH_INDEX"}} {pinned("torch", "torchvision")}
RUN pip install --no-cache-dir "$PACKAGE" {pinned("timm", "pillow", "safetensors")}
RUN useradd --create-home server
USER server
WORKDIR /home/server
COPY {json.dumps([name, "model.classifier"])}
EXPOSE 8000
HEALTHCHECK --start-period=60s CMD ["python", "-c", \
"import urllib.request as it; it.urlopen('http://127.0.0.1:8000/healthz')"]
CMD {json.dumps(command)}
"""
