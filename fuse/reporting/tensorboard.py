"""A run as TensorBoard shows it: validation by epoch, test figures by split, medians, options, the
scatter plot.

All of it is read from the run's folder, so that events say nothing that the run does not.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from vqa_twostage.fuse.runs import MAIN_METRICS, Run
from vqa_twostage.pipeline.errors import require_installed


def require_package() -> None:
    """UsageError where events cannot be written: said before anything is trained."""
    require_installed("--tensorboard", ["tensorboard"])


def write_events(run: Path) -> Path:
    """Writes ``RUN/tensorboard``, a folder a split, whose curves lie over each other; replaces
    earlier events.
    """
    from matplotlib.image import imread
    from torch.utils.tensorboard import SummaryWriter

    source = Run(run)
    folder, document = source.tensorboard_folder, source.metrics().to_json()
    record = source.record().to_json()
    source.clear_events()
    epochs = source.validation_curve()
    if epochs is None:  # of a baseline
        epochs = pd.DataFrame(columns=["split", "epoch", "srcc"])
    for split in document["splits"]:
        with SummaryWriter(str(folder / f"split-{split['seed']}")) as writer:
            rows = epochs[epochs["split"] == split["seed"]]
            for epoch, srcc in zip(rows["epoch"], rows["srcc"], strict=True):
                _add(writer, "validation/srcc", float(srcc), int(epoch))
            for name in MAIN_METRICS:
                _add(writer, f"test/{name}", split[name], 0)
    with SummaryWriter(str(folder)) as writer:
        for name in MAIN_METRICS:
            _add(writer, f"median over splits/{name}", document["median"][name], 0)
        options = {**record["specs"], **record["options"]}
        told = {key: value for key, value in options.items() if value not in (None, "")}
        writer.add_text(
            "run", f"N = {document['n_videos']} videos\n\n```\n{json.dumps(told, indent=2)}\n```"
        )
        writer.add_image("scatter", imread(source.scatter_file)[..., :3], dataformats="HWC")
    return folder


def _add(writer: Any, tag: str, value: float | None, step: int) -> None:
    if value is not None and value == value:  # an undefined figure is no point
        writer.add_scalar(tag, value, step)
