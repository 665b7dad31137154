"""Heads: which layers they are, and that every class begins as likely as any other."""

from __future__ import annotations

import math
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import nn

from trainer import models
from trainer.models.heads import even, heads, parts

# A model of each family, of both libraries, at a size that takes little time.
FAMILIES = [
    ("densenet121", 32),
    ("efficientnet_b0", 32),
    ("googlenet", 64),
    ("inception_v3", 96),
    ("mnasnet0_5", 64),
    ("mobilenet_v2", 32),
    ("mobilenet_v3_small", 64),
    ("regnet_y_400mf", 64),
    ("resnet18", 32),
    ("shufflenet_v2_x0_5", 64),
    ("squeezenet1_1", 64),
    ("swin_t", 64),
    ("timm/deit_tiny_distilled_patch16_224", 32),
    ("timm/lcnet_035", 64),
    ("timm/levit_128s", 64),
    ("timm/dla46_c", 64),
    ("timm/test_convnext", 64),
    ("timm/test_mambaout", 64),
    ("timm/test_maxvit", 64),
    ("timm/test_nfnet", 64),
    ("timm/test_vit", 64),
    ("vgg11", 32),
]

SLOW = ("inception_v3", "swin_t", "vgg11")  # to make, so that this is done once


@pytest.mark.parametrize(("arch", "size"), FAMILIES)
def test_a_new_head_makes_every_class_as_likely_and_learns(arch: str, size: int) -> None:
    torch.manual_seed(0)
    pictures, labels = torch.randn(4, 3, size, size), torch.tensor([0, 1, 1, 1])
    if arch not in SLOW:
        _first_loss(models.create(arch, 2, size, None).model, pictures, labels, 2)
    model = models.create(arch, 1000, size, None).model
    body, head = parts(model)
    for param in body[1:]:
        param.requires_grad = False  # it is enough, and quicker, to look at the first
    _first_loss(model, pictures, labels, 1000).backward()
    assert all(param.grad.abs().max() > 0 for param in head)  # type: ignore[union-attr]
    with torch.no_grad():
        for param in head:
            param -= 0.1 * param.grad  # type: ignore[operator]
    nn.functional.cross_entropy(model(pictures), labels).backward()
    assert body[0].grad is not None
    assert body[0].grad.abs().max() > 0


def _first_loss(model: nn.Module, pictures: torch.Tensor, labels: torch.Tensor, classes: int) -> torch.Tensor:
    with torch.no_grad():
        untrained = nn.functional.cross_entropy(model.eval()(pictures), labels)
    loss = nn.functional.cross_entropy(model.train()(pictures), labels)
    for each in (untrained, loss):
        assert each.item() == pytest.approx(math.log(classes), rel=0.1)
    return loss


@pytest.mark.parametrize(
    "arch",
    [
        "vgg16",
        "squeezenet1_0",
        "maxvit_t",
        "timm/crossvit_9_240",
        "timm/deit_tiny_distilled_patch16_224",
        "timm/dpn48b",
        "timm/levit_384_s8",
        "timm/repvit_m0_9",
        "timm/resnetv2_50x1_bit",
        "timm/volo_d1_224",
    ],
)
def test_heads_are_what_hangs_on_the_number_of_classes(arch: str) -> None:
    library, _, name = arch.rpartition("/")
    make: Any = timm.create_model if library else torchvision.models.get_model
    with torch.device("meta"):
        model = make(name, num_classes=7)
    sevens = [name.rpartition(".")[0] for name, param in model.named_parameters() if param.shape[0] == 7]
    assert heads(model) == list(dict.fromkeys(sevens))
    body, head = parts(model)
    assert all(param.shape[0] == 7 for param in head)
    assert [id(param) for param in model.parameters() if param.shape[0] == 7] == [id(param) for param in head]
    assert {id(param) for param in body} | {id(param) for param in head} == {id(param) for param in model.parameters()}


def test_parts_keep_the_order_of_the_model() -> None:
    model: Any = timm.create_model("deit_tiny_distilled_patch16_224", num_classes=5)
    order = {id(param): number for number, param in enumerate(model.parameters())}
    for params in parts(model):
        assert [order[id(param)] for param in params] == sorted(order[id(param)] for param in params)
    assert [tuple(param.shape) for param in parts(model)[1]] == [(5, 192), (5,), (5, 192), (5,)]


def test_both_heads_of_a_distilled_model_begin_anew_from_weights() -> None:
    model: Any = models.create("timm/deit_tiny_distilled_patch16_224", 3, 32, None).model
    for head in (model.head, model.head_dist):
        assert head.weight.eq(0).all()
        nn.init.normal_(head.weight)
    pictures = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        alone = model.eval()(pictures)
        model.head_dist.weight.zero_()
        assert not torch.allclose(model(pictures), alone)
    even(model)
    assert model(pictures).eq(0).all()


def test_heads_of_a_users_model_are_guessed() -> None:
    linear = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    convolution = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    named = nn.ModuleDict({"classifier": nn.Linear(4, 2), "gate": nn.Linear(4, 4)})
    assert [heads(each) for each in (linear, convolution, named)] == [["4"], ["1"], ["classifier"]]
    assert heads(nn.ReLU()) == []
