"""A run as TensorBoard shows it: validation by epoch, test figures by split, medians, options, the
scatter plot.

All of it is read from the run's folder, so that events say nothing that the run does not.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from vqa_twostage.fuse.evaluate import NAMES, evaluate
from vqa_twostage.pipeline import records
from vqa_twostage.pipeline.errors import require_installed

FOLDER = "tensorboard"


def require_package() -> None:
    """UsageError where events cannot be written: said before anything is trained."""
    require_installed("--tensorboard", ["tensorboard"])


def write_events(run: Path) -> Path:
    """Writes ``RUN/tensorboard``, a folder a split, whose curves lie over each other; replaces
    earlier events.
    """
    from matplotlib.image import imread
    from torch.utils.tensorboard import SummaryWriter

    folder, document = run / FOLDER, evaluate(run)
    record = records.read_json(run / "run.json")
    clear_events(run)
    learning = run / "learning.csv"  # a baseline has none
    epochs = (
        pd.read_csv(learning)
        if learning.is_file()
        else pd.DataFrame(columns=["split", "epoch", "srcc"])
    )
    for split in document["splits"]:
        with SummaryWriter(str(folder / f"split-{split['seed']}")) as writer:
            rows = epochs[epochs["split"] == split["seed"]]
            for epoch, srcc in zip(rows["epoch"], rows["srcc"], strict=True):
                _add(writer, "validation/srcc", float(srcc), int(epoch))
            for name in NAMES:
                _add(writer, f"test/{name}", split[name], 0)  # type: ignore[literal-required]
    with SummaryWriter(str(folder)) as writer:
        for name in NAMES:
            _add(writer, f"median over splits/{name}", document["median"][name], 0)  # type: ignore[literal-required]
        options = {**record["specs"], **record["options"]}
        told = {key: value for key, value in options.items() if value not in (None, "")}
        writer.add_text(
            "run", f"N = {document['n_videos']} videos\n\n```\n{json.dumps(told, indent=2)}\n```"
        )
        writer.add_image("scatter", imread(run / "scatter.png")[..., :3], dataformats="HWC")
    return folder


def clear_events(run: Path) -> None:
    """Removes the events in ``RUN/tensorboard``, and nothing else that may lie there."""
    for path in [
        *(run / FOLDER).glob("events.out.tfevents.*"),
        *(run / FOLDER).glob("split-*/events.out.tfevents.*"),
    ]:
        path.unlink()


def _add(writer: Any, tag: str, value: float | None, step: int) -> None:
    if value is not None and value == value:  # an undefined figure is no point
        writer.add_scalar(tag, value, step)
