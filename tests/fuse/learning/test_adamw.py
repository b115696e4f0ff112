"""The optimiser and its schedule are torch's, without what importing torch's costs."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from vqa_twostage.fuse.learning.adamw import AdamW, one_cycle


@pytest.mark.parametrize(("steps", "warm_up"), [(120, 0.3), (7, 0.3), (40, 0.5)])
def test_steps_are_those_of_torch(steps: int, warm_up: float) -> None:
    generator = torch.Generator().manual_seed(0)
    ours = [torch.randn(shape, generator=generator) for shape in ((3, 4), (5,))]
    theirs = [tensor.clone().requires_grad_() for tensor in ours]
    ours = [tensor.requires_grad_() for tensor in ours]
    mine = AdamW(ours, weight_decay=1.0)
    optimizer = torch.optim.AdamW(theirs, lr=1e-2, weight_decay=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1e-2, total_steps=steps, pct_start=warm_up
    )
    for step in range(steps):
        for tensors in (ours, theirs):
            sum((tensor.square() + tensor.sin()).sum() for tensor in tensors).backward()
        group = optimizer.param_groups[0]
        learning_rate, beta1 = one_cycle(step, steps, 1e-2, warm_up)
        assert learning_rate == pytest.approx(group["lr"], abs=1e-12)
        assert beta1 == pytest.approx(group["betas"][0], abs=1e-12)
        mine.step(learning_rate, beta1)
        optimizer.step()
        optimizer.zero_grad()
        if step < steps - 1:
            schedule.step()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def test_parameter_without_a_gradient_only_decays() -> None:
    used, unused = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    optimizer = AdamW([used, unused], weight_decay=1.0)
    used.sum().backward()
    optimizer.step(0.1, 0.9)
    assert used.grad is None
    torch.testing.assert_close(unused.detach(), torch.full((2,), 0.9))
    assert (used < unused).all()


def test_training_imports_no_compiler() -> None:
    program = (
        "import sys, vqa_twostage.fuse.learning.fit_all; assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
