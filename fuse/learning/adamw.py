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
    """Changes ``parameters`` by their gradients.

    They become views of one vector, so that a step is a few operations on long vectors instead of
    as many on each of them. Weights decay towards 0, or, with ``towards_start``, towards the values
    that they have now: L2-SP of Li, Grandvalet and Davoine, "Explicit inductive bias for transfer
    learning with convolutional networks", ICML 2018.
    """

    def __init__(
        self, parameters: Sequence[Tensor], weight_decay: float, towards_start: bool = False
    ) -> None:
        self._parameters, self._weight_decay = list(parameters), weight_decay
        self._values = torch.cat([parameter.detach().flatten() for parameter in parameters])
        sizes = [parameter.numel() for parameter in parameters]
        for parameter, values in zip(parameters, self._values.split(sizes), strict=True):
            parameter.data = values.view(parameter.shape)
        self._start = self._values.clone() if towards_start else None
        self._mean, self._square = (torch.zeros_like(self._values) for _ in range(2))
        self._steps = 0

    @torch.no_grad()
    def step(self, learning_rate: float, beta1: float) -> None:
        """One step, after which the gradients are gone; what got none counts as having 0."""
        self._steps += 1
        gradient = torch.cat(
            [
                torch.zeros_like(parameter).flatten()
                if parameter.grad is None
                else parameter.grad.flatten()
                for parameter in self._parameters
            ]
        )
        for parameter in self._parameters:
            parameter.grad = None
        self._mean.lerp_(gradient, 1 - beta1)
        self._square.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        root = (1 - BETA2**self._steps) ** 0.5
        step = self._square.sqrt().div_(root).add_(EPSILON)
        if self._start is None:
            self._values.mul_(1 - learning_rate * self._weight_decay)
        else:
            self._values.lerp_(self._start, learning_rate * self._weight_decay)
        self._values.addcdiv_(self._mean, step, value=-learning_rate / (1 - beta1**self._steps))
