"""AdamW on a schedule of one cycle, as torch's `AdamW` and `OneCycleLR` compute them; importing
those takes two seconds in every process that trains.

Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019; Smith and Topin,
"Super-convergence", 2019.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

# of the average of squared gradients, and what is added to its root
BETA2, EPSILON = 0.999, 1e-8
# of the average of gradients: at the cycle's ends, and at its highest learning rate
BETA1_ENDS, BETA1_PEAK = 0.95, 0.85
# the first learning rate in parts of the highest, and the last in parts of the first
FIRST, LAST = 1 / 25, 1e-4


def one_cycle(step: int, steps: int, peak: float, warm_up: float) -> tuple[float, float]:
    """The learning rate of a step, from 0 to ``steps`` - 1, and the weight of the average of
    gradients.

    It rises to ``peak`` in the part ``warm_up`` of all steps, and then falls, both along a cosine.
    """
    first, top, end = peak * FIRST, warm_up * steps - 1, steps - 1
    if step <= top:
        return _cosine(first, peak, step / top), _cosine(BETA1_ENDS, BETA1_PEAK, step / top)
    passed = (step - top) / (end - top)
    return _cosine(peak, first * LAST, passed), _cosine(BETA1_PEAK, BETA1_ENDS, passed)


def _cosine(start: float, end: float, passed: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * passed))


class AdamW:
    """Changes ``parameters`` by their gradients."""

    def __init__(self, parameters: Sequence[Tensor], weight_decay: float) -> None:
        self._parameters, self._weight_decay = list(parameters), weight_decay
        self._mean = [torch.zeros_like(parameter) for parameter in parameters]
        self._square = [torch.zeros_like(parameter) for parameter in parameters]
        self._steps = 0

    @torch.no_grad()
    def step(self, learning_rate: float, beta1: float) -> None:
        """One step, after which the gradients are gone; what got no gradient stays."""
        self._steps += 1
        size = learning_rate / (1 - beta1**self._steps)
        root = (1 - BETA2**self._steps) ** 0.5
        for parameter, mean, square in zip(self._parameters, self._mean, self._square, strict=True):
            gradient, parameter.grad = parameter.grad, None
            if gradient is None:
                continue
            parameter.mul_(1 - learning_rate * self._weight_decay)
            mean.lerp_(gradient, 1 - beta1)
            square.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
            parameter.addcdiv_(mean, square.sqrt().div_(root).add_(EPSILON), value=-size)
