"""The default dtype of torch while a reference runs."""

from __future__ import annotations

import threading

import pytest
import torch

from sgdsheet.reference import float64_by_default


def test_it_is_put_back_though_two_threads_overlap() -> None:
    entered, left = threading.Event(), threading.Event()

    def first() -> None:
        with float64_by_default():
            entered.set()
            assert left.wait(10)

    thread = threading.Thread(target=first)
    thread.start()
    assert entered.wait(10)
    with float64_by_default():
        left.set()
        thread.join()
        assert torch.get_default_dtype() == torch.float64  # the other has gone, this one still computes
    assert torch.get_default_dtype() == torch.float32


def test_it_is_put_back_after_an_error() -> None:
    with pytest.raises(ValueError, match="of its own"), float64_by_default(), float64_by_default():
        raise ValueError("of its own")
    assert torch.get_default_dtype() == torch.float32
