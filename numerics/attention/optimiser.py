"""One step of SGD, momentum and Adam: from weights, gradient and memory to the next weights and memory."""

from __future__ import annotations

from typing import Final

import numpy as np

from ..problem.problem import FloatArray
from .settings import Training

Arrays = tuple[FloatArray, ...]

_SECOND: Final = 0.999  # decay of Adam's mean square
_FLOOR: Final = 1e-8  # added to its root

# How many arrays, each in the shape of a weight, the optimiser remembers.
_MEMORY: Final = {"sgd": 0, "momentum": 1, "adam": 2}


def empty_memory(optimiser: str, parts: Arrays) -> Arrays:
    """What the optimiser remembers before the first step."""
    return tuple(np.zeros_like(part) for _ in range(_MEMORY[optimiser]) for part in parts)


def step(training: Training, number: int, rate: float, parts: Arrays, gradients: Arrays, memory: Arrays) -> Arrays:
    """The next weights, followed by the next memory; ``number`` counts steps from 0.

    Adam: Kingma and Ba, arXiv 1412.6980, algorithm 1, with both biases corrected.
    """
    count, decay = len(parts), training.momentum
    if training.optimiser == "sgd":
        return tuple(part - rate * gradient for part, gradient in zip(parts, gradients, strict=True))
    first = memory[:count]
    if training.optimiser == "momentum":
        speed = tuple(decay * old + gradient for old, gradient in zip(first, gradients, strict=True))
        return (*(part - rate * new for part, new in zip(parts, speed, strict=True)), *speed)
    mean = tuple(decay * old + (1 - decay) * gradient for old, gradient in zip(first, gradients, strict=True))
    square = tuple(
        _SECOND * old + (1 - _SECOND) * gradient**2 for old, gradient in zip(memory[count:], gradients, strict=True)
    )
    scale, root = rate / (1 - decay ** (number + 1)), 1 - _SECOND ** (number + 1)
    moved = (
        part - scale * new / (np.sqrt(large / root) + _FLOOR)
        for part, new, large in zip(parts, mean, square, strict=True)
    )
    return (*moved, *mean, *square)
