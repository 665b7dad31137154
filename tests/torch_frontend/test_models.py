"""The models, losses and activations that must compile, three steps each, against torch's own training loop."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

import sgdsheet
from sgdsheet.engines import available
from sgdsheet.torch_frontend.compiled import compile

TOLERANCE, LEAST = 1e-10, 1e-3
Case = tuple[Callable[[], nn.Module], Callable[[], torch.Tensor], Callable[[], torch.Tensor], Any, Any]
randn, classes = torch.randn, torch.tensor
optim = torch.optim


class Residual(nn.Module):
    """A block with a way around it, and batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 2, 3, padding=1)
        self.norm = nn.BatchNorm2d(2)
        self.second = nn.Conv2d(2, 2, 3, padding=1)
        self.out = nn.Linear(2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.second(F.relu(self.norm(self.first(x))))
        return self.out(x.mean((2, 3)))


class LeNet(nn.Module):
    """LeNet-5's layers; `side` is 28 for the real one, and less for one that is narrower too."""

    def __init__(self, side: int) -> None:
        super().__init__()
        left = (side // 2 - 4) // 2
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16 if side == 28 else 4, 5)
        self.dense1 = nn.Linear(self.conv2.out_channels * left * left, 120 if side == 28 else 12)
        self.dense2 = nn.Linear(self.dense1.out_features, 84 if side == 28 else 8)
        self.dense3 = nn.Linear(self.dense2.out_features, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(torch.tanh(self.conv1(x)), 2)
        x = F.avg_pool2d(torch.tanh(self.conv2(x)), 2).flatten(1)
        return self.dense3(torch.tanh(self.dense2(torch.tanh(self.dense1(x)))))


class Autoencoder(nn.Module):
    """A convolution down and a transposed one up again."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(1, 3, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(3, 1, 3, stride=2, padding=1, output_padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.up(torch.tanh(self.down(x)))


class Bag(nn.Module):
    """The mean of the embeddings of some words."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 3, padding_idx=0)
        self.out = nn.Linear(3, 4)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        return self.out(self.embedding(words).mean(1))


class Recurrent(nn.Module):
    """What a recurrent network has seen after the last step."""

    def __init__(self, kind: type[nn.RNNBase], **options: bool | int) -> None:
        super().__init__()
        self.rnn = kind(3, 4, batch_first=True, **options)  # type: ignore[arg-type]
        self.out = nn.Linear(8 if options.get("bidirectional") else 4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.rnn(x)[0][:, -1])


class Attention(nn.Module):
    """Self-attention, or a whole encoder layer, with a causal mask if asked for."""

    def __init__(self, causal: bool, layer: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        self.causal = causal
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, dropout, batch_first=True) if layer else None
        self.attention = None if layer else nn.MultiheadAttention(4, 2, dropout, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], dtype=x.dtype) if self.causal else None
        if self.layer is not None:
            return self.layer(x, src_mask=mask)
        assert self.attention is not None
        return self.attention(x, x, x, attn_mask=mask)[0]


class Block(nn.Module):
    """One layer of a GPT as many people write it: the mask is a buffer, and what it hides becomes minus infinity."""

    def __init__(self, width: int, heads: int, length: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.heads = heads
        self.register_buffer("mask", torch.tril(torch.ones(length, length)).view(1, 1, length, length))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        parts = self.qkv(self.norm1(x)).split(width, 2)
        q, k, v = (part.view(batch, length, self.heads, width // self.heads).transpose(1, 2) for part in parts)
        scores = (q @ k.transpose(-2, -1)) / (width // self.heads) ** 0.5
        mask = self.get_buffer("mask")[:, :, :length, :length]
        seen = scores.masked_fill(mask == 0, float("-inf")).softmax(-1) @ v
        x = x + self.proj(seen.transpose(1, 2).contiguous().view(batch, length, width))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    """A character model of two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.letter, self.place = nn.Embedding(6, 4), nn.Embedding(4, 4)
        self.blocks = nn.Sequential(Block(4, 2, 4), Block(4, 2, 4))
        self.norm, self.out = nn.LayerNorm(4), nn.Linear(4, 6, bias=False)

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        x = self.letter(text) + self.place(torch.arange(text.shape[1]))
        return self.out(self.norm(self.blocks(x))).view(-1, 6)


def mlp() -> nn.Module:
    """Two layers."""
    return nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))


def cnn() -> nn.Module:
    """Stride, padding, groups, dilation and batch norm; for pictures of 2 x 10 x 10."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 3, 2, dilation=2),
        nn.AvgPool2d(2, stride=1),
        nn.Flatten(),
        nn.Linear(12, 3),
    )


def pools() -> nn.Module:
    """Overlapping and adaptive pooling; for pictures of 1 x 8 x 8."""
    return nn.Sequential(
        nn.Conv2d(1, 2, 3),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(8, 3),
    )


def norms() -> nn.Module:
    """Layer norm and group norm."""
    return nn.Sequential(nn.Linear(3, 6), nn.LayerNorm(6), nn.GroupNorm(2, 6), nn.Linear(6, 2))


def groups(params: list[nn.Parameter]) -> optim.Optimizer:
    given = [{"params": params[:1], "lr": 0.05}, {"params": params[1:], "weight_decay": 0.1}]
    return optim.AdamW(given, lr=0.01, amsgrad=True)


# A bias in front of a batch norm, or of attention's keys, has a gradient of 0 but for rounding. Adam and its relatives
# divide it by its own size, so that two right programs differ: those models are compared with optimisers that do not.
CASES: dict[str, Case] = {
    "mlp": (mlp, lambda: randn(4, 2), lambda: randn(4, 1), F.mse_loss, lambda p: optim.Adam(p, lr=0.1)),
    "lenet": (
        lambda: LeNet(14),
        lambda: randn(1, 1, 14, 14),
        lambda: classes([3]),
        F.cross_entropy,
        lambda p: optim.NAdam(p, lr=0.01),
    ),
    "cnn": (
        cnn,
        lambda: randn(2, 2, 10, 10),
        lambda: classes([0, 2]),
        F.cross_entropy,
        lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    ),
    "pools": (
        pools,
        lambda: randn(2, 1, 8, 8),
        lambda: classes([0, 2]),
        F.cross_entropy,
        lambda p: optim.RMSprop(p, centered=True, momentum=0.5),
    ),
    "residual": (
        Residual,
        lambda: randn(2, 2, 4, 4),
        lambda: classes([0, 2]),
        F.cross_entropy,
        lambda p: optim.SGD(p, lr=0.1, weight_decay=0.01, dampening=0.5, momentum=0.5),
    ),
    "autoencoder": (
        Autoencoder,
        lambda: randn(1, 1, 6, 6),
        lambda: randn(1, 1, 6, 6),
        F.mse_loss,
        lambda p: optim.Adamax(p, lr=0.01),
    ),
    "embedding": (
        Bag,
        lambda: classes([[1, 2, 3], [4, 0, 1]]),
        lambda: classes([3, 1]),
        F.cross_entropy,
        lambda p: optim.Adagrad(p, lr=0.1, lr_decay=0.1, initial_accumulator_value=0.1),
    ),
    "rnn": (
        lambda: Recurrent(nn.RNN),
        lambda: randn(2, 5, 3),
        lambda: classes([0, 1]),
        F.cross_entropy,
        lambda p: optim.Adadelta(p, lr=0.5),
    ),
    "gru": (
        lambda: Recurrent(nn.GRU),
        lambda: randn(2, 5, 3),
        lambda: classes([0, 1]),
        F.cross_entropy,
        lambda p: optim.RAdam(p, lr=0.01),
    ),
    "lstm": (
        lambda: Recurrent(nn.LSTM, num_layers=2, bidirectional=True),
        lambda: randn(2, 5, 3),
        lambda: classes([0, 1]),
        F.cross_entropy,
        lambda p: optim.ASGD(p, lr=0.1, lambd=0.01, t0=1),
    ),
    "norms": (norms, lambda: randn(3, 3), lambda: randn(3, 2), F.mse_loss, lambda p: groups(list(p))),
    "attention": (
        lambda: Attention(causal=False),
        lambda: randn(2, 3, 4),
        lambda: randn(2, 3, 4),
        F.mse_loss,
        lambda p: optim.SGD(p, lr=0.1),
    ),
    "causal attention": (
        lambda: Attention(causal=True),
        lambda: randn(2, 3, 4),
        lambda: randn(2, 3, 4),
        F.mse_loss,
        lambda p: optim.SGD(p, lr=0.1, maximize=True),
    ),
    "encoder layer": (
        lambda: Attention(causal=False, layer=True),
        lambda: randn(2, 3, 4),
        lambda: randn(2, 3, 4),
        F.mse_loss,
        lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    ),
    "causal encoder layer": (
        lambda: Attention(causal=True, layer=True),
        lambda: randn(2, 3, 4),
        lambda: randn(2, 3, 4),
        F.mse_loss,
        lambda p: optim.SGD(p, lr=0.1),
    ),
    "gpt": (
        GPT,
        lambda: classes([[1, 2, 3, 4], [0, 5, 1, 2]]),
        lambda: classes([2, 3, 4, 5, 5, 1, 2, 3]),
        F.cross_entropy,
        lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    ),
}


def close(found: np.ndarray, wanted: torch.Tensor | float, what: str) -> None:
    wanted = torch.as_tensor(wanted).detach().double()
    largest = max(LEAST, float(wanted.abs().max()))
    np.testing.assert_allclose(found, wanted.numpy(), rtol=0, atol=TOLERANCE * largest, err_msg=what)


def double(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


@pytest.fixture
def _float64_by_default() -> Iterator[None]:
    """Some optimisers keep numbers such as a step size in torch's default type."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("_float64_by_default")
@pytest.mark.parametrize("name", CASES)
def test_three_steps(name: str, tmp_path: Path) -> None:
    make, x, y, loss, make_optimizer = CASES[name]
    torch.manual_seed(1)
    model, x, y = make(), x(), y()
    optimizer = make_optimizer(model.parameters())
    before, state = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())
    path = tmp_path / "model.xlsx"
    compile(model, x, y, loss, optimizer, steps=3).save(path)
    assert str(optimizer.state_dict()) == str(state)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())

    report = sgdsheet.verify(path)
    assert report.ok, report.to_frame().query("not ok").to_string()

    values = sgdsheet.read(path)
    model = model.double()
    optimizer = make_optimizer(model.parameters())
    for k in range(3):
        optimizer.zero_grad()
        value = loss(model(double(x)), double(y))
        value.backward()
        close(values[f"{k}/loss"], value, f"loss of step {k}")
        for key, param in model.named_parameters():
            assert param.grad is not None
            close(values[f"{k}/grad/{key}"], param.grad, f"gradient of {key} in step {k}")
        optimizer.step()
        for key, param in model.named_parameters():
            close(values[f"{k + 1}/param/{key}"], param, f"{key} after step {k}")
            for state, held in optimizer.state[param].items():
                if state != "step" and held is not None:
                    close(values[f"{k + 1}/state/{key}/{state}"], held, f"{state} of {key} after step {k}")
        for key, buffer in model.named_buffers():
            close(values.get(f"{k + 1}/buffer/{key}", values[f"0/buffer/{key}"]), buffer, f"{key} after step {k}")


@pytest.mark.skipif("libreoffice" not in available(), reason="LibreOffice is not on this machine")
@pytest.mark.parametrize("name", ["mlp", "cnn", "embedding", "gru", "causal encoder layer", "gpt"])
def test_in_libreoffice(name: str, tmp_path: Path) -> None:
    make, x, y, loss, make_optimizer = CASES[name]
    torch.manual_seed(1)
    model = make()
    compile(model, x(), y(), loss, make_optimizer(model.parameters()), steps=3).save(tmp_path / "model.xlsx")
    report = sgdsheet.verify(tmp_path / "model.xlsx", "libreoffice")
    assert report.ok, report.to_frame().query("not ok").to_string()


def test_dropout_is_data(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(2, 5), nn.Dropout(0.4), nn.Linear(5, 1))
    x, y, path = randn(3, 2), randn(3, 1), tmp_path / "model.xlsx"
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    compile(model, x, y, F.mse_loss, optimizer, steps=3).save(path)
    assert sgdsheet.verify(path).ok
    values = sgdsheet.read(path)
    masks = [values[f"{k}/1/mask"] for k in range(3)]
    assert len({mask.tobytes() for mask in masks}) == 3  # each step draws its own
    model = model.double()
    for mask in masks:
        assert set(mask.reshape(-1).tolist()) <= {0.0, 1.0}
        optimizer.zero_grad()
        F.mse_loss(model[2](model[0](x.double()) * torch.as_tensor(mask) / 0.6), y.double()).backward()
        optimizer.step()
    for name, param in model.named_parameters():
        close(values[f"3/param/{name}"], param, name)


def test_adam_where_gradients_are_only_rounding(tmp_path: Path) -> None:
    """The bias of attention's keys has no gradient; what Adam makes of its rounding is measured by a second run."""
    torch.manual_seed(1)
    model = Attention(causal=True, layer=True, dropout=0.1)
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    compile(model, randn(2, 3, 4), randn(2, 3, 4), F.mse_loss, optimizer, steps=3).save(tmp_path / "model.xlsx")
    report = sgdsheet.verify(tmp_path / "model.xlsx")
    assert report.ok, report.to_frame().query("not ok").to_string()


LOGITS = torch.tensor([[0.5, -1.0, 2.0], [1.5, 0.25, -0.5], [0.0, 0.75, -2.0], [1.0, 1.0, 0.5]])
LABELS = torch.tensor([2, 0, 1, 1])
SOME = torch.tensor([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8], [0.25, 0.5, 0.25]])
ONES = torch.ones(4, 3)
LOSSES: dict[str, tuple[Callable[..., torch.Tensor], torch.Tensor]] = {
    "mse": (F.mse_loss, SOME),
    "mse, summed": (lambda x, y: F.mse_loss(x, y, reduction="sum"), SOME),
    "l1": (F.l1_loss, SOME),
    "smooth l1": (lambda x, y: F.smooth_l1_loss(x, y, beta=0.7), SOME),
    "huber": (lambda x, y: F.huber_loss(x, y, delta=0.7), SOME),
    "cross-entropy": (F.cross_entropy, LABELS),
    "cross-entropy, smoothed": (lambda x, y: F.cross_entropy(x, y, label_smoothing=0.1), LABELS),
    "cross-entropy, weighted": (lambda x, y: F.cross_entropy(x, y, torch.tensor([1.0, 2.0, 0.5]).double()), LABELS),
    "cross-entropy, one ignored": (lambda x, y: F.cross_entropy(x, y, ignore_index=0), LABELS),
    "cross-entropy, all of it": (
        lambda x, y: F.cross_entropy(
            x, y, torch.tensor([1.0, 2.0, 0.5]).double(), label_smoothing=0.2, ignore_index=2, reduction="sum"
        ),
        LABELS,
    ),
    "cross-entropy of probabilities": (F.cross_entropy, SOME),
    "nll": (lambda x, y: F.nll_loss(F.log_softmax(x, 1), y), LABELS),
    "bce": (lambda x, y: F.binary_cross_entropy(torch.sigmoid(x), y), SOME),
    "bce with logits": (F.binary_cross_entropy_with_logits, SOME),
    "bce with logits, weighted": (
        lambda x, y: F.binary_cross_entropy_with_logits(x, y, pos_weight=torch.tensor([1.0, 3.0, 0.5]).double()),
        SOME,
    ),
    "bce with logits, of a constant": (lambda x, y: F.binary_cross_entropy_with_logits(x, ONES.to(x)), SOME),
    "gaussian nll": (lambda x, y: F.gaussian_nll_loss(x, y, (x + 1) ** 2, full=True, eps=0.5, reduction="sum"), SOME),
    "gaussian nll, a variance a row": (lambda x, y: F.gaussian_nll_loss(x, y, x.exp().mean(1)), SOME),
    "kl": (lambda x, y: F.kl_div(F.log_softmax(x, 1), y, reduction="batchmean"), SOME),
    "kl of logarithms": (lambda x, y: F.kl_div(F.log_softmax(x, 1), y, log_target=True, reduction="sum"), SOME.log()),
}


class Scaled(nn.Module):
    """Numbers that are learned, so that a loss has a gradient to be compared."""

    def __init__(self, start: torch.Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(start.clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight * x


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name: str, tmp_path: Path) -> None:
    loss, target = LOSSES[name]
    model, x, path = Scaled(LOGITS), torch.tensor([[1.0, 0.5, 2.0]]), tmp_path / "loss.xlsx"
    optimizer = optim.SGD(model.parameters(), lr=0.5)
    compile(model, x, target, loss, optimizer, steps=3).save(path)
    report = sgdsheet.verify(path)
    assert report.ok, report.to_frame().query("not ok").to_string()
    values = sgdsheet.read(path)
    model = model.double()
    for k in range(3):
        optimizer.zero_grad()
        value = loss(model(x.double()), double(target))
        value.backward()
        close(values[f"{k}/loss"], value, f"loss of step {k}")
        assert model.weight.grad is not None
        close(values[f"{k}/grad/weight"], model.weight.grad, f"gradient of step {k}")
        optimizer.step()


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "CELU": lambda: nn.CELU(0.7),
    "ELU": lambda: nn.ELU(1.3),
    "GELU": nn.GELU,
    "GELU by tanh": lambda: nn.GELU("tanh"),
    "GLU": nn.GLU,
    "Hardshrink": nn.Hardshrink,
    "Hardsigmoid": nn.Hardsigmoid,
    "Hardswish": nn.Hardswish,
    "Hardtanh": lambda: nn.Hardtanh(-0.7, 1.2),
    "LeakyReLU": lambda: nn.LeakyReLU(0.2),
    "LogSigmoid": nn.LogSigmoid,
    "LogSoftmax": lambda: nn.LogSoftmax(1),
    "Mish": nn.Mish,
    "PReLU": nn.PReLU,
    "RReLU": lambda: nn.RReLU().eval(),
    "ReLU": nn.ReLU,
    "ReLU6": nn.ReLU6,
    "SELU": nn.SELU,
    "SiLU": nn.SiLU,
    "Sigmoid": nn.Sigmoid,
    "Softmax": lambda: nn.Softmax(1),
    "Softmin": lambda: nn.Softmin(1),
    "Softplus": lambda: nn.Softplus(2.0, 3.0),
    "Softshrink": nn.Softshrink,
    "Softsign": nn.Softsign,
    "Tanh": nn.Tanh,
    "Tanhshrink": nn.Tanhshrink,
    "Threshold": lambda: nn.Threshold(0.1, 0.5),
}
OTHERS = {"MultiheadAttention", "Softmax2d"}  # the first is among the models, the second is softmax over channels


def test_every_activation_of_torch_is_here() -> None:
    from torch.nn.modules import activation

    assert {name.partition(" ")[0] for name in ACTIVATIONS} | OTHERS == set(activation.__all__)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str, tmp_path: Path) -> None:
    # Both sides of every kink, and far out, but on none of them.
    start = torch.tensor([[-8.0, -2.9, -1.1, -0.51], [-0.2, 0.15, 0.45, 0.9], [1.3, 2.7, 5.9, 7.5]])
    model, path = nn.Sequential(Scaled(start), ACTIVATIONS[name]()), tmp_path / "activation.xlsx"
    compile(model, torch.ones(1, 4), loss=lambda y: (y * torch.arange(1, y.numel() + 1).reshape(y.shape)).sum()).save(
        path
    )
    report = sgdsheet.verify(path)
    assert report.ok, report.to_frame().query("not ok").to_string()
    values = sgdsheet.read(path)
    model = model.double()
    y = model(torch.ones(1, 4).double())
    (y * torch.arange(1, y.numel() + 1).reshape(y.shape)).sum().backward()
    close(values["0/output"], y, "output")
    for key, param in model.named_parameters():
        assert param.grad is not None
        # torch's kernel for Hardsigmoid multiplies by 1/6 in single precision; the cells have all digits.
        if name == "Hardsigmoid":
            np.testing.assert_allclose(values[f"0/grad/{key}"], param.grad, rtol=1e-7)
        else:
            close(values[f"0/grad/{key}"], param.grad, key)
