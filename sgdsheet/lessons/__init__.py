"""The catalogue of lessons: each is one workbook and the torch program that it must agree with."""

from __future__ import annotations

from functools import cache

from sgdsheet.errors import Error, nearest
from sgdsheet.lessons.lesson import Lesson


@cache
def catalogue() -> dict[str, Lesson]:
    """Every lesson by name, in the order in which to read them."""
    from sgdsheet.lessons import (
        classifier,
        cnn_training,
        compiled_models,
        conv_backward,
        convolution,
        learning_rate,
        linear_sgd,
        minibatch,
        optimizers,
        overfitting,
        relu_net,
        softmax_cross_entropy,
        tensors,
    )

    lessons = (
        tensors.TENSORS,
        linear_sgd.LINEAR_SGD,
        linear_sgd.LESSON2_SGD,
        learning_rate.LEARNING_RATE,
        minibatch.MINIBATCH,
        optimizers.OPTIMIZERS,
        overfitting.OVERFITTING,
        relu_net.RELU_NET,
        softmax_cross_entropy.SOFTMAX_CROSS_ENTROPY,
        convolution.CONVOLUTION,
        conv_backward.CONV_BACKWARD,
        cnn_training.CNN_TRAINING,
        classifier.CLASSIFIER,
        compiled_models.XOR_MLP,
        compiled_models.LSTM,
        compiled_models.ATTENTION,
    )
    return {lesson.name: lesson for lesson in lessons}


def find(name: str) -> Lesson:
    """The lesson of that name. Raises `Error`, with the nearest name, if there is none."""
    lessons = catalogue()
    if name not in lessons:
        raise Error(f"no workbook is called {name!r}{nearest(name, lessons)}")
    return lessons[name]


__all__ = ["Lesson", "catalogue", "find"]
