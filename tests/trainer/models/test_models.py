"""Models: their heads, sizes and weights, of torchvision and of timm."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sgdsheet.errors import Error
from trainer import models


@pytest.mark.parametrize("arch", ["resnet18", "mobilenet_v3_small", "squeezenet1_1", "vit_b_32", "densenet121"])
def test_heads_of_torchvisions_models(arch: str) -> None:
    from torchvision.models import get_model

    with torch.device("meta"):
        model = get_model(arch, weights=None)
        models._replace_head(model, 7)
    body, head = models.parts(model)
    assert head[0].shape[0] == 7
    assert len(body) + len(head) == len(list(model.parameters()))
    other = get_model(arch, weights=None, num_classes=7)
    assert {name: each.shape for name, each in other.state_dict().items()} == {
        name: each.shape for name, each in model.state_dict().items()
    }


@pytest.mark.parametrize("arch", ["resnet18", "googlenet", "resnet10t", "efficientvit_b0"])
def test_a_model_gives_a_number_for_each_class(arch: str) -> None:
    model = models.create(arch, 5, 96, None).model
    assert model.training
    assert model(torch.randn(2, 3, 96, 96)).shape == (2, 5)
    assert models.parts(model)[1][0].shape[0] == 5


def test_the_colours_that_a_model_expects() -> None:
    plain, vit = models.create("resnet18", 2, 32, None), models.create("vit_tiny_patch16_224", 2, 224, None)
    assert (plain.mean, plain.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (vit.mean, vit.std) == ((0.5,) * 3, (0.5,) * 3)


def test_what_cannot_be_made_is_said() -> None:
    for arch, size, weights, said in [
        ("resnet43", 32, None, "in torchvision or timm; did you mean 'resnet34'"),
        ("vit_b_16", 128, None, "vit_b_16 cannot take pictures of 128 x 128 pixels.*Expected 224"),
        ("alexnet", 32, None, "alexnet cannot take pictures of 32 x 32 pixels"),
        ("resnet18", 32, "IMAGENET", "has no weights 'IMAGENET'; did you mean 'IMAGENET1K_V1'"),
        ("resnet10t", 32, "c4_in1k", "timm has no weights 'c4_in1k' of resnet10t; did you mean 'c3_in1k'"),
    ]:
        with pytest.raises(Error, match=said) as raised:
            models.create(arch, 3, size, weights)
        assert "\n" not in str(raised.value)


def test_weights_that_cannot_be_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    with pytest.raises(Error, match="'DEFAULT' of resnet18 cannot be downloaded: no network; give a file instead"):
        models.create("resnet18", 3, 32, "DEFAULT")


def test_a_file_of_weights_for_other_classes_gives_the_body(tmp_path: Path) -> None:
    many = models.create("resnet18", 9, 32, None).model
    torch.save({"state_dict": many.state_dict()}, tmp_path / "many.pth")
    few = models.create("resnet18", 3, 32, tmp_path / "many.pth").model
    for name, each in few.state_dict().items():
        assert name.startswith("fc.") or torch.equal(each, many.state_dict()[name])
    assert few.state_dict()["fc.weight"].shape == (3, 512)
    with pytest.raises(Error, match=r"weights do not fit the model: layer1\.0\.bn3\.bias is missing;.* and \d+ more"):
        models.create("resnet50", 3, 32, tmp_path / "many.pth")
    (tmp_path / "junk.pth").write_text("junk")
    with pytest.raises(Error, match="it is no file of weights that can be read"):
        models.create("resnet18", 3, 32, tmp_path / "junk.pth")
