"""Which network a name means, which weights, and what pictures these expect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import nn

from sgdsheet.errors import Error
from trainer import models

Give = Callable[[Mapping[str, torch.Tensor]], None]
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5,) * 3, (0.5,) * 3)
SHUFFLENET = torchvision.models.ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1


class Small(nn.Module):
    """A network of a user's."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4, num_classes)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.fc(self.body(pictures).mean((2, 3)))


@pytest.mark.parametrize(
    ("arch", "made"),
    [
        ("efficientnet_b0", "torchvision.models.efficientnet"),
        ("torchvision/efficientnet_b0", "torchvision.models.efficientnet"),
        ("timm/efficientnet_b0", "timm.models.efficientnet"),
        ("efficientnet_b0.ra_in1k", "timm.models.efficientnet"),
        ("hf-hub:timm/efficientnet_b0.ra_in1k", "timm.models.efficientnet"),
        ("hf_hub:timm/efficientnet_b0.ra_in1k", "timm.models.efficientnet"),
        ("test_resnet", "timm.models.resnet"),
        ("vit_tiny_patch16_224_in21k", "timm.models.vision_transformer"),  # a name that timm has given up
        ("efficientnet_lite0", "timm.models.efficientnet"),
        (torchvision.models.efficientnet_b0, "torchvision.models.efficientnet"),
        (timm.models.efficientnet.efficientnet_b0, "timm.models.efficientnet"),
    ],
)
def test_who_makes_the_model_of_a_name(arch: Any, made: str) -> None:
    network = models.create(arch, 5, 32, None)
    assert type(network.model).__module__ == made
    assert network.model.training
    assert network.model(torch.randn(2, 3, 32, 32)).shape == (2, 5)
    assert network.source == ""
    if not isinstance(arch, str):
        again = models.create(models.name_of(arch), 5, 32, None)
        assert type(again.model).__module__ == made


def test_what_is_known_as_efficientnet_lite_is_not_what_timm_calls_so() -> None:
    known: Any = models.create("efficientnet_lite0", 2, 64, None).model
    called: Any = models.create("timm/efficientnet_lite0", 2, 64, None).model
    assert known.pretrained_cfg["architecture"] == "tf_efficientnet_lite0"
    assert called.pretrained_cfg["architecture"] == "efficientnet_lite0"


def test_a_class_of_the_users_has_no_weights() -> None:
    torch.manual_seed(0)
    expected = Small(4).state_dict()
    for weights in ("DEFAULT", None, "none", "None"):
        torch.manual_seed(0)
        network = models.create(Small, 4, 32, weights)
        assert all(torch.equal(each, expected[name]) for name, each in network.model.state_dict().items())
        assert (network.mean, network.std, network.size, network.crop, network.source) == (*IMAGENET, None, None, "")
    assert models.name_of(Small) == "Small"


@pytest.mark.parametrize(
    ("arch", "weights", "said"),
    [
        ("resnet43", None, r"there is no model 'resnet43' in torchvision or timm; did you mean 'resnet34'"),
        ("timm/resnet43", None, r"there is no model 'resnet43' in timm; did you mean"),
        ("torchvision/resnet10t", None, r"there is no model 'resnet10t' in torchvision; did you mean"),
        ("", None, r"there is no model ''"),
        ("resnet18", "IMAGENET", r"resnet18 has no weights 'IMAGENET', and .* did you mean 'IMAGENET1K_V1'"),
        ("resnet10t", "c4_in1k", r"timm has no weights 'c4_in1k' of resnet10t, and .*; did you mean 'c3_in1k'"),
        ("resnet10t.c4_in1k", None, r"timm has no weights 'c4_in1k' of resnet10t, and .*; did you mean 'c3_in1k'"),
        ("resnet50.a1_in1k", "a2_in1k", r"resnet50.a1_in1k says its weights itself, and is not to have 'a2_in1k' too"),
        ("botnet50ts_256", "DEFAULT", r"timm has no weights of botnet50ts_256; weights=None \(--weights none\)"),
        ("botnet50ts_256", "in1k", r"timm has no weights 'in1k' of botnet50ts_256, and .*; it has none of it at all"),
        (
            "convnext_tiny",
            "fb_in22k",
            r"convnext_tiny is torchvision's here, and .*: arch timm/convnext_tiny",
        ),
        ("resnet50", torchvision.models.ResNet18_Weights.DEFAULT, r"expected one of ResNet50_Weights, got ResNet18_W"),
        ("resnet10t", torchvision.models.ResNet18_Weights.DEFAULT, r"resnet10t of timm has no weights ResNet18_W"),
        ("resnet18", 5, r"weights: expected \"DEFAULT\", another name, a file, or None for none, got 5"),
        ("resnet18", True, r"weights: .* got True"),
        ("resnet18", "", r"weights: .* got ''"),
        ("resnet18", {"fc.weight": 0}, r"weights: .* got a dict"),
        (3, "DEFAULT", r"arch: expected the name of a model, or a class or function that makes one, got 3"),
        (Small(3), "DEFAULT", r"arch: .* got a Small that is made already"),
        (Small, "IMAGENET1K_V1", r"Small has no weights 'IMAGENET1K_V1', and there is no such file"),
        (lambda: Small(3), None, r"arch: <lambda> cannot be called with num_classes alone"),
        (torchvision.models.ResNet, None, r"arch: ResNet cannot be called with num_classes alone: .*'block'"),
        (lambda num_classes: num_classes, None, r"arch: expected <lambda> to make a model, got int"),
        (
            lambda num_classes: Small(num_classes + 1),
            None,
            r"expected scores of the shape \(1, 3\) .* a tensor \(1, 4\)",
        ),
    ],
)
def test_what_cannot_be_made_is_said_in_a_line(arch: Any, weights: Any, said: str) -> None:
    with pytest.raises(Error, match=said) as raised:
        models.create(arch, 3, 32, weights)
    assert "\n" not in str(raised.value)
    assert not str(raised.value).rstrip().endswith("there is")


# --- sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arch", "size", "said"),
    [
        ("alexnet", 32, "alexnet cannot take pictures of 32 x 32 pixels; choose another size, as 224"),
        ("vit_b_32", 100, "vit_b_32 cannot take pictures of 100 x 100 pixels; choose another size, as 224"),
        ("test_maxvit", 100, "test_maxvit cannot take pictures of 100 x 100 pixels; choose another size, as 160"),
    ],
)
def test_sizes_that_a_model_cannot_take(arch: str, size: int, said: str) -> None:
    with pytest.raises(Error, match=said) as raised:
        models.create(arch, 3, size, None)
    assert "\n" not in str(raised.value)


def test_the_positions_of_a_vision_transformer_are_stretched_to_the_size(hubs: Give) -> None:
    trained: Any = timm.create_model("test_vit", num_classes=1000)
    with torch.no_grad():
        trained.pos_embed[:, 1:] = torch.linspace(-1, 1, 10).repeat_interleave(10)[None, :, None]  # a row below a row
    hubs(trained.state_dict())
    model: Any = models.create("test_vit", 3, 224).model
    rows = model.pos_embed[0, 1:].reshape(14, 14, -1).detach()
    assert torch.allclose(rows, rows[:, :1].expand_as(rows), atol=1e-4)  # still a row below a row
    assert torch.all(rows[1:, 0, 0] > rows[:-1, 0, 0] - 1e-2)
    assert rows[0, 0, 0] == pytest.approx(-1, abs=0.1)
    assert rows[-1, 0, 0] == pytest.approx(1, abs=0.1)


def test_weights_that_are_for_one_size_only(hubs: Give) -> None:
    hubs(timm.create_model("levit_128s", num_classes=1000).state_dict())
    with pytest.raises(Error, match="weights of levit_128s.fb_dist_in1k cannot be had for 160 x 160 pixels, only 224"):
        models.create("levit_128s", 3, 160)
    assert models.create("levit_128s", 3, 224).size == 224


# --- weights of torchvision -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arch", "weights", "colours", "size", "crop"),
    [
        ("shufflenet_v2_x0_5", "DEFAULT", IMAGENET, 224, 0.875),
        ("shufflenet_v2_x0_5", "default", IMAGENET, 224, 0.875),
        ("shufflenet_v2_x0_5", "ShuffleNet_V2_X0_5_Weights.DEFAULT", IMAGENET, 224, 0.875),
        (
            "torchvision/shufflenet_v2_x0_5",
            torchvision.models.ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1,
            IMAGENET,
            224,
            0.875,
        ),
        (torchvision.models.shufflenet_v2_x0_5, "IMAGENET1K_V1", IMAGENET, 224, 0.875),
        ("mobilenet_v3_large", "IMAGENET1K_V2", IMAGENET, 224, 224 / 232),
    ],
)
def test_weights_that_torchvision_downloads(
    arch: Any, weights: Any, colours: Any, size: int, crop: float, hubs: Give
) -> None:
    name = models.name_of(arch).rpartition("/")[2]
    trained = torchvision.models.get_model(name, weights=None).state_dict()
    hubs(trained)
    network = models.create(arch, 3, 64, weights)
    (head,) = models.heads(network.model)
    for name, each in network.model.state_dict().items():
        assert name.startswith(f"{head}.") or torch.equal(each, trained[name])
    assert (network.mean, network.std) == colours
    assert (network.size, network.crop) == (size, crop)
    assert network.source.startswith("torchvision's ")
    assert network.source.endswith(("IMAGENET1K_V1", "IMAGENET1K_V2"))


def test_colours_that_are_not_imagenets() -> None:
    expected = models.torchvision.Torchvision("efficientnet_v2_l").expected()
    assert expected == {"mean": HALF[0], "std": HALF[1], "size": 480, "crop": 1.0}


def test_weights_that_are_no_numbers_where_they_were_not_trained(hubs: Give, monkeypatch: pytest.MonkeyPatch) -> None:
    class Vgg(nn.Sequential):
        """As vgg16 is named, but small."""

        def __init__(self, classes: int) -> None:
            super().__init__()
            self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
            self.classifier = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, classes))

    trained = {name: torch.full_like(each, 0.25) for name, each in Vgg(1000).state_dict().items()}
    hubs(trained | {name: each * torch.nan for name, each in trained.items() if name.startswith("classifier.")})
    monkeypatch.setattr("torchvision.models.get_model", lambda name, num_classes, weights: Vgg(num_classes))
    network = models.create("vgg16", 3, 32, "IMAGENET1K_FEATURES")
    assert network.mean == pytest.approx((0.48235, 0.45882, 0.40784), abs=1e-5)
    assert network.std == pytest.approx((1 / 255,) * 3)
    state = network.model.state_dict()
    assert not any(each.isnan().any() for each in state.values())
    assert state["features.0.weight"].eq(0.25).all()
    assert state["classifier.0.weight"].std() > 0


@pytest.mark.parametrize(("arch", "size"), [("googlenet", 64), ("inception_v3", 96)])
def test_networks_with_auxiliary_heads_have_weights(arch: str, size: int, hubs: Give) -> None:
    torch.manual_seed(1)
    theirs: Any = torchvision.models.get_model(
        arch, weights=None, aux_logits=True, init_weights=False, transform_input=True
    ).eval()
    hubs(theirs.state_dict())
    network = models.create(arch, 1000, size, "DEFAULT")
    (head,) = models.heads(network.model)
    network.model.load_state_dict({f"{head}.weight": theirs.fc.weight, f"{head}.bias": theirs.fc.bias}, strict=False)
    pictures = torch.rand(2, 3, size, size)
    mean, std = (torch.tensor(each)[:, None, None] for each in IMAGENET)
    own_mean, own_std = (torch.tensor(each)[:, None, None] for each in (network.mean, network.std))
    with torch.no_grad():
        expected = theirs((pictures - mean) / std)
        got = network.model.eval()((pictures - own_mean) / own_std)
    assert torch.allclose(got, expected, rtol=1e-4, atol=1e-5)
    assert network.model.train()(torch.rand(2, 3, size, size)).shape == (2, 1000)  # no tuple of three
    assert not any("aux" in name.lower() for name in network.model.state_dict())


# --- weights of timm --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arch", "weights", "source"),
    [
        ("test_resnet", "DEFAULT", "timm's test_resnet.r160_in1k"),
        ("timm/test_resnet", "r160_in1k", "timm's test_resnet.r160_in1k"),
        ("test_resnet.r160_in1k", "DEFAULT", "timm's test_resnet.r160_in1k"),
        ("hf-hub:timm/test_resnet.r160_in1k", "r160_in1k", "timm's test_resnet.r160_in1k"),
    ],
)
def test_weights_that_timm_downloads(arch: str, weights: str, source: str, hubs: Give) -> None:
    trained = timm.create_model("test_resnet", num_classes=1000).state_dict()
    hubs(trained)
    network = models.create(arch, 1000, 64, weights)
    for name, each in network.model.state_dict().items():
        assert each.eq(0).all() if name.startswith("fc.") else torch.equal(each, trained[name])
    assert network.source == source
    assert (network.mean, network.std, network.size, network.crop) == (*HALF, 160, 0.95)


def test_a_name_that_timm_has_given_up_is_said(hubs: Give) -> None:
    hubs(timm.create_model("vit_tiny_patch16_224", num_classes=21843).state_dict())
    network = models.create("vit_tiny_patch16_224_in21k", 3, 96)
    assert network.source == "timm's vit_tiny_patch16_224.augreg_in21k, once vit_tiny_patch16_224_in21k"
