"""Several processes: that they do what one does, take devices of their own, and end together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch._C._distributed_c10d import HashStore

from sgdsheet.errors import Error
from trainer import distributed
from trainer.distributed import World

REPOSITORY = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("two_processes.py")


def two(case: str) -> subprocess.CompletedProcess[str]:
    """Two processes of two_processes.py, and what they print."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [str(SCRIPT), case]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    done = two("measured")
    assert done.returncode == 0, done.stderr
    assert "arn" not in done.stderr  # nothing is said at the end, as by a group that was not left
    return json.loads(done.stdout)


# --- what they compute ------------------------------------------------------------------------------------------------


def test_norms_of_two_processes_are_over_the_whole_batch(measured: dict[str, Any]) -> None:
    """Unequal parts in float64: outputs, gradients and running statistics, with whatever a norm does besides."""
    found = measured["norms"]
    assert {"test_efficientnet", "regnety_002", "mobilenetv3_small_050", "densenet121", "resnetv2_50"} <= set(found)
    assert {"a user's", "timm's", "momentum=None", "track_running_stats=False", "none for one"} <= set(found)
    assert not far(found)


def test_norms_on_gpus_are_torch_s_shared_ones(measured: dict[str, Any]) -> None:
    """What is called there, and with what; the kernels themselves have stand-ins."""
    assert len(measured["on_gpus"]) == 13
    assert not far(measured["on_gpus"])


def far(found: dict[str, dict[str, float]]) -> dict[tuple[str, str], float]:
    return {(name, kind): each for name, kinds in found.items() for kind, each in kinds.items() if not each < 1e-9}


def test_norms_in_few_digits_lose_no_more_than_torch_s_own(measured: dict[str, Any]) -> None:
    for name, (theirs, ours) in measured["halves"].items():
        assert ours <= 3 * theirs + 1e-6, name


def test_a_norm_makes_one_collective_forward_and_one_backward(measured: dict[str, Any]) -> None:
    assert measured["frozen"] == {
        "training": ["all_gather"] * 2 + ["all_reduce"] * 2,
        "frozen": ["all_gather", "all_reduce"],
        "evaluation": [],
    }


def test_rows_are_gathered_though_some_have_none(measured: dict[str, Any]) -> None:
    found = measured["gathered"]
    assert found.pop("mean") == [1.5, True]
    assert len(found) == 18
    assert all(found.values())


def test_the_recorder_sees_the_mean_gradient_in_one_of_them(measured: dict[str, Any]) -> None:
    found = measured["recorded"]
    assert found["counts"] == [3, 0]
    assert found["grad"] == pytest.approx(found["expected"], rel=1e-14)


def test_parts_are_all_of_it_and_nearly_equal() -> None:
    for size in range(1, 9):
        for count in (*range(2 * size + 2), 1000):
            parts = [range(count)[World(rank, size, torch.device("cpu")).part(count)] for rank in range(size)]
            assert [each for part in parts for each in part] == list(range(count))
            assert max(map(len, parts)) - min(map(len, parts)) <= (count % size > 0)


def test_one_process_changes_nothing() -> None:
    world, model, rows = World(0, 1, torch.device("cpu")), nn.Sequential(nn.BatchNorm1d(2)), torch.randn(3, 2)
    assert world.together(model) is model
    assert "forward" not in vars(model[0])
    assert world.gathered(rows, 3) is rows
    assert torch.equal(world.mean(rows), rows)


# --- which device is whose --------------------------------------------------------------------------------------------


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Says of this process what torchrun says, and how many GPUs there are; nobody is waited for."""
    monkeypatch.setattr(distributed, "_meet", lambda *_: None)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    monkeypatch.setattr(distributed, "_keep_freed_memory", lambda: None)

    def start(gpus: int = 0, mps: bool = False, **said: Any) -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
            monkeypatch.delenv(name, raising=False)
        for name, number in said.items():
            monkeypatch.setenv(name, str(number))

    return start


def numbers(rank: int, size: int, here: int | None = None) -> dict[str, int]:
    """What torchrun says to a process of `size`, of which `here` are on each machine."""
    here = here or size
    return {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank % here, "LOCAL_WORLD_SIZE": here}


@pytest.mark.parametrize(
    ("gpus", "name", "started_by", "expected"),
    [
        (0, None, {}, "cpu"),
        (2, None, {}, "cuda:0"),
        (2, "cuda", {}, "cuda:0"),
        (2, "cuda:1", {}, "cuda:1"),
        (2, "cpu", {}, "cpu"),
        (0, "cpu:0", {}, "cpu"),
        (2, torch.device("cuda", 1), {}, "cuda:1"),
        (2, None, numbers(1, 2), "cuda:1"),
        (3, "cuda", numbers(2, 3), "cuda:2"),
        (2, None, numbers(3, 4, here=2), "cuda:1"),
        (2, "cuda:1", numbers(1, 2, here=1), "cuda:1"),
        (0, None, numbers(1, 2), "cpu"),
        (1, "cpu", numbers(1, 2), "cpu"),
        (2, None, {"RANK": 1, "WORLD_SIZE": 2}, "cuda:1"),  # not torchrun, which would say more
    ],
)
def test_each_process_has_a_device_of_its_own(
    started: Any, gpus: int, name: Any, started_by: dict[str, int], expected: str
) -> None:
    started(gpus, **started_by)
    world = distributed.join(name)
    assert world == World(started_by.get("RANK", 0), started_by.get("WORLD_SIZE", 1), torch.device(expected))


@pytest.mark.parametrize(
    ("gpus", "name", "size", "said"),
    [
        (2, None, 3, "3 processes on this machine, and 2 GPUs that PyTorch can use: start 2, or use --device cpu"),
        (1, "cuda", 2, "2 processes on this machine, and 1 GPU that PyTorch can use: start 1, or use --device cpu"),
        (4, "cuda:1", 2, "--device cuda:1: 2 processes would share this GPU"),
        (0, "cuda", 2, "--device cuda: this machine has no GPU that PyTorch can use"),
        (2, "cuda:2", 1, "--device cuda:2: this machine has 2 GPUs that PyTorch can use"),
        (0, "mps", 2, "--device mps: 2 processes cannot train together on Apple GPUs"),
        (0, "gpu", 2, "--device: expected cpu, cuda, cuda:1 or mps, got 'gpu'"),
        (0, "cpu:3", 1, "--device: expected cpu, cuda, cuda:1 or mps, got 'cpu:3'"),
        (0, "", 1, "--device: expected cpu, cuda, cuda:1 or mps, got ''"),
        (0, "meta", 1, "--device: expected cpu, cuda, cuda:1 or mps, got 'meta'"),
        (2, "cuda:-1", 1, "--device: expected cpu, cuda, cuda:1 or mps, got 'cuda:-1'"),
        (0, 1.5, 1, "--device: expected cpu, cuda, cuda:1 or mps, got '1.5'"),
    ],
)
def test_a_device_that_cannot_be_is_the_same_error_in_all(
    started: Any, gpus: int, name: Any, size: int, said: str
) -> None:
    for rank in range(size):
        started(gpus, mps=True, **numbers(rank, size))
        with pytest.raises(Error) as error:
            distributed.join(name)
        assert str(error.value).startswith(said)
        assert "\n" not in str(error.value)


def test_an_environment_that_says_no_number_is_said(started: Any) -> None:
    started(WORLD_SIZE="two")
    with pytest.raises(Error, match="WORLD_SIZE: expected a whole number in this environment variable, got 'two'"):
        distributed.join()
    started(RANK=0, WORLD_SIZE=2, LOCAL_RANK=-1)
    with pytest.raises(Error, match="LOCAL_RANK: expected"):
        distributed.join()


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Where the processes meet."""
    store = HashStore()
    # The module; a function of torch.distributed has the same name.
    found = lambda *_, **__: iter([(store, 0, 2)])  # noqa: E731
    monkeypatch.setattr(sys.modules["torch.distributed.rendezvous"], "rendezvous", found)
    return store


def test_devices_of_different_kinds_are_an_error_and_no_endless_wait(store: Any) -> None:
    store.set("trainer/1", "cuda")  # on a machine that has a GPU
    with pytest.raises(Error, match="--device: some processes have cpu, others cuda; give a device that all have"):
        distributed._meet(0, 2, torch.device("cpu"))
    assert not dist.is_initialized()


def test_whoever_meets_nobody_says_so(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "GATHERING", timedelta(seconds=0.05))
    with pytest.raises(Error, match="process 0 of 2 does not meet the others .*; start them with torchrun"):
        distributed._meet(0, 2, torch.device("cpu"))
    monkeypatch.undo()
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(
        Error, match="process 1 of 2 does not meet the others .*MASTER_ADDR.*; start them with torchrun"
    ):
        distributed._meet(1, 2, torch.device("cpu"))


def test_torch_s_own_shared_norm_is_for_gpus() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.SyncBatchNorm(4))
    with pytest.raises(Error, match="1: SyncBatchNorm is for GPUs"):
        distributed.share_norms(model, torch.device("cpu"))
    distributed.share_norms(model, torch.device("cuda"))
    assert "forward" not in vars(model[1])


def test_whatever_goes_wrong_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(distributed.time, "sleep", waited.append)

    def ends(error: BaseException, rank: int) -> bool:
        """Whether a process with that exception waits to be ended before it raises it."""
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        waited.clear()
        with pytest.raises(type(error)) as raised, distributed.command():
            raise error
        assert raised.value is error
        return bool(waited)

    assert not ends(Error("the disk is full"), 0)
    assert ends(Error("the disk is full"), 1)
    for rank in (0, 1):
        assert ends(RuntimeError("[gloo/transport/tcp/pair.cc:561] Connection closed by peer"), rank)
        assert ends(dist.DistBackendError("NCCL communicator was aborted"), rank)
        assert not ends(RuntimeError("shapes cannot be multiplied"), rank)
        assert not ends(KeyboardInterrupt(), rank)
        assert not ends(SystemExit(0), rank)


def test_too_few_gpus_end_both_processes_and_are_said_once() -> None:
    done = two("too_many")
    assert done.returncode != 0
    assert done.stderr.count("error: 2 processes on this machine, and 1 GPU that PyTorch can use") == 1


def test_the_error_of_one_ends_the_other_that_waits_for_it() -> None:
    done = two("dies")
    assert done.returncode != 0
    assert done.stderr.count("error: the disk is full") == 1
    assert "Connection closed" not in done.stderr
