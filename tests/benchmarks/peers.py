"""What the trainer is measured against: the same work by torchvision with a DataLoader, and pictures to work on."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

SCALE = (0.35, 1.0)  # the share of a picture's area that random resized crop takes


def photographs(
    folder: Path, count: int, size: tuple[int, int] = (500, 375), classes: int = 3, copies: int = 1
) -> Path:
    """Writes JPEGs that are about as hard to decode as photographs, in a folder for each class; each so many times."""
    from PIL import Image

    def write(number: int) -> None:
        rng, kind = np.random.default_rng(number), number % classes
        path = folder / f"class{kind}" / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(0, 256, (6 + 6 * kind, 8 + 8 * kind, 3), dtype=np.uint8)
        picture = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC), dtype=np.int16)
        noisy = np.clip(picture + rng.integers(-12, 13, picture.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(path, quality=88)
        for copy in range(1, copies):
            shutil.copyfile(path, path.with_stem(f"{number:06}-{copy}"))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(write, range(-(-count // copies))))
    return folder


def loader(folder: Path, size: int, batch_size: int, workers: int, pin_memory: bool = False) -> Any:
    """torchvision's ImageFolder and random resized crop, flip and normalisation, in a DataLoader."""
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    transform = v2.Compose(
        [
            v2.RandomResizedCrop(size, scale=SCALE, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    data = ImageFolder(folder, transform)
    options: dict[str, Any] = {"num_workers": workers, "persistent_workers": workers > 0, "pin_memory": pin_memory}
    return DataLoader(data, batch_size, shuffle=True, drop_last=True, **options)


def train(
    model: nn.Module,
    batches: Callable[[], Iterator[Any]],
    epochs: int,
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    optimizer: torch.optim.Optimizer | None = None,
) -> list[float]:
    """An ordinary loop with cross-entropy, and AdamW if no optimizer is given: each epoch's pictures a second."""
    optimizer = optimizer or torch.optim.AdamW(model.parameters(), 1e-3)
    rates = []
    for _ in range(epochs):
        started, seen = time.perf_counter(), 0
        for pictures, labels in batches():
            pictures, labels = pictures.to(device, non_blocking=True), labels.to(device, non_blocking=True)
            optimizer.zero_grad()
            with autocast():
                loss = nn.functional.cross_entropy(model(pictures), labels)
            loss.backward()
            optimizer.step()
            seen += len(labels)
        finished(device)
        rates.append(seen / (time.perf_counter() - started))
    return rates


def finished(device: torch.device) -> None:
    """Waits until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
