"""The layers that give the scores of the classes, and how they begin."""

from __future__ import annotations

import torch
from torch import nn

NAMED = ("fc", "classifier", "head", "heads")
LAYERS = (nn.Linear, nn.Conv2d)


def heads(model: nn.Module) -> list[str]:
    """The names of the layers that give a number for each class, in the model's order.

    A distilled model has two, for instance. timm says which they are; of another model it is the last linear layer (of
    those called fc, classifier or head, where there are any), or the last convolution where none is linear.
    """
    said = (getattr(model, "pretrained_cfg", None) or {}).get("classifier")
    if said:
        known = {said} if isinstance(said, str) else {*said}
        known |= {name.replace("head", "head_dist", 1) for name in known}  # which timm's levit_384_s8 keeps to itself
        found = [name for name, module in model.named_modules() if name in known and isinstance(module, LAYERS)]
        if found:
            return found
    layers = [name for name, module in model.named_modules() if isinstance(module, LAYERS)]
    linear = [name for name in layers if isinstance(model.get_submodule(name), nn.Linear)]
    named = [name for name in linear if name.split(".")[0] in NAMED]
    return (named or linear or layers)[-1:]


def parts(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The parameters of the body, and those of the heads, each in the model's order."""
    mine = {id(param) for name in heads(model) for param in model.get_submodule(name).parameters()}
    params = [*model.parameters()]
    return [each for each in params if id(each) not in mine], [each for each in params if id(each) in mine]


def even(model: nn.Module) -> None:
    """Has the heads begin from the same score for every class: the first loss is ln(classes) whatever the body says.

    All is zero then; the gradients of a linear layer's weights are not, for they depend on what it is given. Where a
    ReLU follows the head, as in SqueezeNet, zero would have no gradient and a score no way down, so that the scores
    begin at 3 there: with 1, 0.1 or torchvision's random numbers fewer of its trainings went well.
    """
    with torch.no_grad():
        for name in heads(model):
            layer = model.get_submodule(name)
            for param in layer.parameters():
                param.zero_()
            if _rectified(model, name) and isinstance(layer.bias, torch.Tensor):
                layer.bias.fill_(3)


def _rectified(model: nn.Module, name: str) -> bool:
    parent, _, place = name.rpartition(".")
    row = model.get_submodule(parent)
    after = [*row.children()][[*dict(row.named_children())].index(place) + 1 :]
    return isinstance(row, nn.Sequential) and bool(after) and isinstance(after[0], nn.ReLU)
