"""Files of weights, as people have them."""

from __future__ import annotations

import argparse
import json
import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from sgdsheet.errors import Error
from trainer import models
from trainer.models import files

State = dict[str, torch.Tensor]


class Small(nn.Module):
    """A network with a batch norm, made in no time."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.deep = nn.Conv2d(4, 4, 3)
        self.fc = nn.Linear(4, num_classes)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.fc(self.deep(self.stem(pictures)).mean((2, 3)))


class Settings(dict[str, Any]):
    """What trainers keep their options in."""


TRAINED = Small(37)
with torch.no_grad():
    for number, tensor in enumerate(TRAINED.state_dict().values()):
        tensor.copy_(number)
STATE: State = {name: each.clone() for name, each in TRAINED.state_dict().items()}
BODY: State = {name: each for name, each in STATE.items() if not name.startswith("fc.")}


def under(prefix: str, state: State) -> State:
    return {prefix + name: each for name, each in state.items()}


def minus(state: State, least: float = 100) -> State:
    """Other weights of the same names and shapes."""
    return {name: each - least for name, each in state.items()}


def created(path: Path, classes: int = 3) -> models.Network:
    """The network with what is in a file; its body is that of `TRAINED`."""
    network = models.create(Small, classes, 16, path)
    own = network.model.state_dict()
    assert [name for name, each in BODY.items() if not torch.equal(own[name], each)] in (
        [],
        ["stem.1.num_batches_tracked"],
    )
    return network


def written(path: Path, content: Any, legacy: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".safetensors":
        save_file(content, path)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


@pytest.mark.parametrize(
    "name", "w.pth w.PTH w.pt w.bin w.ckpt w.CKPT w.pth.tar w.tar w.safetensors w.SafeTensors w.weights w".split()
)
def test_any_suffix(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / name, STATE)
    assert created(path).source == f"{path}, head for 37 classes left out"
    assert created(str(path)).source == f"{path}, head for 37 classes left out"  # type: ignore[arg-type]
    monkeypatch.setenv("HOME", str(tmp_path))
    assert created(Path("~", name)).source == f"{path}, head for 37 classes left out"


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "checkpoint-9.pth.tar"])
def test_folders(name: str, tmp_path: Path) -> None:
    path = written(tmp_path / "folder" / name, STATE)
    (tmp_path / "folder" / "notes.txt").write_text("none")
    assert created(path.parent).source == f"{path}, head for 37 classes left out"


def test_folders_without_one_file_of_weights(tmp_path: Path) -> None:
    with pytest.raises(Error, match="expected model.safetensors, .* it has none of these"):
        models.create(Small, 3, 16, tmp_path)
    for name in ("a.pth", "b.pth"):
        written(tmp_path / name, STATE)
    with pytest.raises(Error, match="expected model.safetensors, .* it has a.pth, b.pth"):
        models.create(Small, 3, 16, tmp_path)


OTHER = Small(37)
OPTIMIZER = torch.optim.Adam(OTHER.parameters())
OTHER(torch.ones(2, 3, 16, 16)).sum().backward()
OPTIMIZER.step()
ARGS = argparse.Namespace(lr=0.1, output_dir=PurePosixPath("/x"), nested=argparse.Namespace(a=1))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"state_dict": STATE}, ""),
        ({"model": STATE, "optimizer": OPTIMIZER.state_dict(), "epoch": 3, "args": ARGS}, ""),
        ({"model_state_dict": STATE, "optimizer_state_dict": OPTIMIZER.state_dict(), "loss": torch.tensor(0.5)}, ""),
        ({"weights": {"net": STATE}}, ""),
        ({"state_dict": minus(STATE), "state_dict_ema": STATE, "arch": "small"}, "its state_dict_ema, "),
        ({"state_dict_ema": STATE, "state_dict": minus(STATE)}, "its state_dict_ema, "),
        (
            {
                "model": minus(STATE),
                "model_ema": under("module.", STATE) | {"n_averaged": torch.tensor(4)},
                "args": ARGS,
            },
            "its model_ema, without the prefix 'module.', ",
        ),
        ({"student": minus(STATE), "teacher": STATE}, "its teacher, "),
        ({"generator": STATE, "discriminator": {"other.weight": torch.zeros(3)}}, ""),
        (under("module.", STATE), "without the prefix 'module.', "),
        (under("_orig_mod.", STATE), "without the prefix '_orig_mod.', "),
        (under("model.", STATE), "without the prefix 'model.', "),
        (under("backbone.", STATE), "without the prefix 'backbone.', "),
        (under("_orig_mod.module.encoder.", STATE), "without the prefix '_orig_mod.module.encoder.', "),
        (
            {
                "state_dict": under("model.", STATE),
                "hyper_parameters": Settings(lr=1, deep=Settings(a=[1])),
                "epoch": 1,
            },
            "without the prefix 'model.', ",
        ),
        (
            under("model.", minus(STATE)) | under("ema_model.", STATE),
            "without the prefix 'ema_model.', 11 tensors of other names left out, ",
        ),
        ({name: each for name, each in STATE.items() if "num_batches" not in name}, ""),
        (under("averaged/", STATE) | under("model/", minus(STATE)) | {"steps": torch.zeros(3)}, "its averaged, "),
    ],
)
@pytest.mark.parametrize("legacy", [False, True])
def test_what_trainings_save(content: Any, said: str, legacy: bool, tmp_path: Path) -> None:
    path = written(tmp_path / "w.pth", content, legacy)
    assert created(path).source == f"{path}, {said}head for 37 classes left out"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (BODY, "without a head"),
        (under("encoder.", BODY), "without the prefix 'encoder.', without a head"),
        (STATE, "its head too"),
        (
            under("backbone.", BODY) | {name: STATE[name] for name in ("fc.weight", "fc.bias")},
            "without .*, its head too",
        ),
        (BODY | {"fc.weight": STATE["fc.weight"]}, "head for 37 classes left out"),  # but no bias
        (BODY | {"fc.0.weight": torch.zeros(8, 4), "fc.2.weight": torch.zeros(37, 8)}, "another head left out"),
        (
            under("encoder_q.", BODY) | under("encoder_k.", minus(BODY)) | {"queue": torch.zeros(3)},
            "without the prefix 'encoder_q.', 10 tensors of other names left out, without a head",
        ),
    ],
)
def test_heads(content: State, said: str, tmp_path: Path) -> None:
    path = written(tmp_path / "w.pth", content)
    torch.manual_seed(0)
    new = Small(37).fc.weight
    torch.manual_seed(0)
    network = created(path, 37)
    assert network.source == f"{path}, {said}" or re.fullmatch(f"{path}, {said}", network.source)
    own = network.model.state_dict()
    assert torch.equal(own["fc.weight"], STATE["fc.weight"] if "its head too" in said else new)


def test_whole_models_are_read_but_not_run(tmp_path: Path) -> None:
    path = written(tmp_path / "w.pth", TRAINED)
    state = files.read(path).states[""]
    assert {name: each.shape for name, each in state.items()} == {name: each.shape for name, each in STATE.items()}
    assert list(state) == list(STATE)
    network = models.create(Small, 37, 16, written(tmp_path / "dp.pt", nn.DataParallel(TRAINED)))
    assert network.source.endswith("without the prefix 'module.', its head too")
    own = TRAINED.state_dict()
    assert all(torch.equal(each, own[name]) for name, each in network.model.state_dict().items())


class Runs:
    """Runs something when it is unpickled as pickle would."""

    def __init__(self, how: Callable[..., Any], what: str) -> None:
        self.how, self.what = how, what

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return self.how, (self.what,)


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    sign = tmp_path / "sign"
    path = written(tmp_path / "w.pth", {"state_dict": STATE, "x": Runs(os.mkdir, str(sign))})
    with pytest.raises(Error, match="it would run posix.mkdir"):
        models.create(Small, 3, 16, path)
    created(written(tmp_path / "w.pth", {"state_dict": STATE, "x": Runs(eval, f"open({str(sign)!r}, 'w')")}))
    assert not sign.exists()


def test_what_is_no_file_of_weights(tmp_path: Path) -> None:
    whole = written(tmp_path / "w.safetensors", STATE).read_bytes()
    zipped = written(tmp_path / "w.pth", STATE).read_bytes()
    (tmp_path / "diverged.pth").write_bytes(b"")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(nn.Linear(2, 2)).save(str(tmp_path / "program.pt"))
    for name, content, said in [
        ("junk.pth", b"junk", r"it is no file of weights that can be read \(it begins with b'junk'\)"),
        ("none.pth", b"", r"\(it is empty\)"),
        (
            "lfs.safetensors",
            b"version https://git-lfs.github.com/spec/v1\noid",
            r"begins with b'version https://git-lfs",
        ),
        ("page.bin", b"<!doctype html><html>", r"begins with b'<!doctype"),
        ("cut.safetensors", whole[:300], r"can be read \("),
        ("cut.pth", zipped[:1000], r"can be read \("),
        ("program.pt", None, r"it is a TorchScript program; save its state_dict\(\) instead"),
        ("list.pth", [1, 2], r"expected the weights of a model by name, got a list"),
        ("tensor.pth", torch.zeros(3), r"expected the weights of a model by name, got a Tensor"),
        (
            "words.pth",
            {"epoch": 1, "args": ARGS},
            r"expected the weights of a model by name, got a dict of epoch, args",
        ),
        (
            "nan.pth",
            {name: each * torch.nan for name, each in STATE.items()},
            r"stem.0.weight holds values that are no n",
        ),
        ("absent.pth", None, r"absent.pth: there is no such file"),
    ]:
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            written(path, content)
        with pytest.raises(Error, match=said) as raised:
            models.create(Small, 3, 16, path)
        assert str(path) in str(raised.value)
        assert "\n" not in str(raised.value)
        assert "\x1b" not in str(raised.value)


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    for changed, said in [
        (
            {**STATE, "deep.weight": torch.zeros(4, 4, 1, 1)},
            r"fit the model: deep.weight is 4 x 4 x 1 x 1, the model's is 4 x 4 x 3 x 3$",
        ),
        ({**STATE, "extra.weight": torch.zeros(1)}, r"fit the model: extra.weight is not in the model$"),
        (
            {name: each for name, each in STATE.items() if "deep" not in name},
            r"deep.bias is missing; deep.weight is missing$",
        ),
        (timm.create_model("test_vit").state_dict(), r"; .* is .*; .* is .*, and \d+ more$"),
    ]:
        path = written(tmp_path / "w.pth", changed)
        with pytest.raises(Error, match=f"^{path}: the weights do not fit the model: .*") as raised:
            models.create(Small, 3, 16, path)
        assert re.search(said, str(raised.value))


def test_the_same_name_in_the_other_library(tmp_path: Path) -> None:
    name = "efficientnet_b0"
    theirs, ours = timm.create_model(name).state_dict(), torchvision.models.get_model(name, weights=None).state_dict()
    with pytest.raises(Error, match=r"more; they fit that of timm: arch timm/efficientnet_b0$"):
        models.create(name, 3, 32, written(tmp_path / "timm.pth", theirs))
    with pytest.raises(Error, match=r"more; they fit that of torchvision: arch torchvision/efficientnet_b0$"):
        models.create(f"timm/{name}", 3, 32, written(tmp_path / "torchvision.pth", {"model": ours, "args": ARGS}))


def test_names_of_old_files_and_positions_for_another_size(tmp_path: Path) -> None:
    new = torchvision.models.densenet121().state_dict()
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2", name): each for name, each in new.items()}
    assert old.keys() != new.keys()
    path = written(tmp_path / "densenet121-a639ec97.pth", old)
    network = models.create("densenet121", 3, 32, path)
    own = network.model.state_dict()
    assert all(torch.equal(own[name], each) for name, each in new.items() if not name.startswith("classifier."))
    assert network.source == f"{path}, adapted, head for 1000 classes left out"
    vit = timm.create_model("test_vit", num_classes=9).state_dict()
    network = models.create("test_vit", 9, 96, written(tmp_path / "vit.pth", under("module.", vit)))
    assert network.source.endswith("without the prefix 'module.', adapted, its head too")


def test_auxiliary_heads_are_left_out(tmp_path: Path) -> None:
    theirs: Any = torchvision.models.googlenet(aux_logits=True, init_weights=False)
    path = written(tmp_path / "googlenet-1378be20.pth", theirs.state_dict())
    network = models.create("googlenet", 3, 64, path)
    assert network.source == f"{path}, aux1, aux2 left out, head for 1000 classes left out"
    assert (network.mean, network.std, network.size, network.crop) == ((0.5,) * 3, (0.5,) * 3, 224, 0.875)


# --- the pictures that they expect ------------------------------------------------------------------------------------


def test_what_is_said_beside_a_file(tmp_path: Path) -> None:
    run, hub = tmp_path / "run", tmp_path / "hub"
    written(run / "model.safetensors", STATE)
    assert (created(run).mean, created(run).size) == (models.MEAN, None)
    (run / "run.json").write_text(json.dumps({"mean": [0.1, 0.2, 0.3], "std": [1, 1, 1], "size": 96}))
    network = created(run)
    assert (network.mean, network.std, network.size, network.crop) == ((0.1, 0.2, 0.3), (1, 1, 1), 96, None)
    written(hub / "pytorch_model.bin", STATE)
    said = {"mean": [0.5] * 3, "std": [0.5] * 3, "input_size": [3, 160, 160], "crop_pct": 0.95}
    (hub / "config.json").write_text(json.dumps({"architecture": "small", "pretrained_cfg": said}))
    network = created(hub)
    assert (network.mean, network.std, network.size, network.crop) == ((0.5,) * 3, (0.5,) * 3, 160, 0.95)
    (run / "run.json").write_text("[1")
    assert created(run).mean == models.MEAN


def test_files_that_torchvision_offers_are_known_by_name(tmp_path: Path) -> None:
    arch, name = "shufflenet_v2_x0_5", "shufflenetv2_x0.5-f707e7126e.pth"
    state = torchvision.models.get_model(arch, weights=None).state_dict()
    known = models.create(arch, 3, 32, written(tmp_path / name, state))
    other = models.create(arch, 3, 32, written(tmp_path / "mine.pth", state))
    assert (known.size, known.crop, other.size, other.crop) == (224, 0.875, None, None)
    assert known.mean == other.mean == models.MEAN


def test_a_run_goes_on_only_with_its_own_weights() -> None:
    model = Small(37)
    models.load(model, STATE, "checkpoint")
    assert all(torch.equal(each, STATE[name]) for name, each in model.state_dict().items())
    for state in (BODY, Small(3).state_dict(), under("module.", STATE), {**STATE, "more": torch.zeros(1)}):
        with pytest.raises(Error, match="^checkpoint: the weights do not fit the model: "):
            models.load(model, state, "checkpoint")


def test_what_holds_itself_or_no_plain_numbers(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    looped: dict[str, Any] = {"0.weight": torch.zeros(2, 2)}
    looped |= {f"model{number}": looped for number in range(30)}
    torch.save(looped, path)
    assert list(files.read(path).states) == [""]
    torch.save({1: torch.zeros(2), 2: torch.zeros(2)}, path)
    with pytest.raises(Error, match="expected the weights of a model by name, got a dict of 1, 2"):
        files.read(path)
    for tensor, kind in (
        (torch.zeros(2, 2, dtype=torch.complex64), "complex"),
        (torch.zeros(2, 2).to_sparse(), "sparse_coo"),
        (torch.zeros(2, 2, device="meta"), "meta"),
    ):
        torch.save({"0.weight": tensor}, path)
        with pytest.raises(Error, match=f"expected plain numbers for 0.weight, got a tensor that is {kind}"):
            files.read(path)
