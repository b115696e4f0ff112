"""A run as TensorBoard shows it: validation by epoch, test metrics by split, medians, options, the
scatter plot. All of it is read from the run's folder.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vqa_twostage.fuse.evaluate import evaluate
from vqa_twostage.fuse.reporting.formatting import n_videos
from vqa_twostage.fuse.results import MAIN_METRICS
from vqa_twostage.fuse.runs import Run
from vqa_twostage.pipeline.errors import require_installed


def require_package() -> None:
    """UsageError where events cannot be written: checked before anything is trained."""
    require_installed("--tensorboard", ["tensorboard"])


def write_events(folder: Path) -> Path:
    """Writes ``RUN/tensorboard``, in it a folder for each split, whose curves lie over each other;
    earlier events are replaced.
    """
    from matplotlib.image import imread
    from torch.utils.tensorboard import SummaryWriter

    run = Run(folder)
    record, evaluation, curves = run.record(), evaluate(run.folder), run.validation_curve()
    run.clear_events()
    for split in evaluation.splits:
        with SummaryWriter(str(run.tensorboard_folder / f"split-{split.seed}")) as writer:
            if curves is not None:
                rows = curves[curves["split"] == split.seed]
                for epoch, srcc in zip(rows["epoch"], rows["srcc"], strict=True):
                    _add(writer, "validation/srcc", float(srcc), int(epoch))
            for name in MAIN_METRICS:
                _add(writer, f"test/{name}", getattr(split.metrics, name), 0)
    with SummaryWriter(str(run.tensorboard_folder)) as writer:
        for name in MAIN_METRICS:
            _add(writer, f"median over splits/{name}", getattr(evaluation.median, name), 0)
        options = {**asdict(record.specs), **asdict(record.options)}
        chosen = {name: value for name, value in options.items() if value not in (None, "")}
        videos = "\n\n".join(
            [n_videos(evaluation.n_videos, evaluation.n_dataset), *evaluation.notes]
        )
        writer.add_text("run", f"{videos}\n\n```\n{json.dumps(chosen, indent=2)}\n```")
        writer.add_image("scatter", imread(run.scatter_file)[..., :3], dataformats="HWC")
    return run.tensorboard_folder


def _add(writer: Any, tag: str, value: float | None, step: int) -> None:
    """Adds a point; none where a metric is undefined or withheld."""
    if value is not None and math.isfinite(value):
        writer.add_scalar(tag, value, step)
