"""The notation of losses, ``--loss smooth_l1+plcc``: names of functions in ``losses.py``, joined by
``+``. Imports torch only to compute.
"""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from vqa_twostage.pipeline.errors import UsageError, close_to

if TYPE_CHECKING:
    from vqa_twostage.fuse.learning.losses import Loss

LOSSES = "vqa_twostage.fuse.learning.losses"


def available_losses() -> dict[str, str]:
    """Name -> first line of its docstring, read without importing torch."""
    source = Path(__file__).with_name("losses.py").read_text(encoding="utf-8")
    return {
        node.name: (ast.get_docstring(node) or "").partition("\n")[0]
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }


def parse_loss(text: str) -> Loss:
    """The sum of the losses that ``text`` names; UsageError lists the choices."""
    names, choices = text.split("+"), available_losses()
    for name in names:
        if name not in choices:
            raise UsageError(
                f"unknown loss {name!r} in {text!r}; choose from {', '.join(choices)}, or a sum "
                f"such as smooth_l1+plcc{close_to(name, choices)}"
            )
    import torch

    losses = [getattr(import_module(LOSSES), name) for name in names]
    return lambda predicted, mos, group: torch.stack(
        [loss(predicted, mos, group) for loss in losses]
    ).sum()
