"""TensorBoard: validation by epoch, test metrics by split, medians, options, the scatter plot."""

from __future__ import annotations

import json

from vqa_twostage.fuse.reporting.formatting import n_videos
from vqa_twostage.fuse.reporting.run_log import LoggedRun

PACKAGES = ("tensorboard",)


def write(logged: LoggedRun) -> str:
    """Writes ``RUN/tensorboard``, in it a folder for each split, whose curves lie over each other;
    earlier events are replaced.
    """
    from matplotlib.image import imread
    from torch.utils.tensorboard import SummaryWriter

    run, evaluation = logged.run, logged.evaluation
    run.clear_events()
    for seed, metrics in logged.tests():
        with SummaryWriter(str(run.tensorboard_folder / f"split-{seed}")) as writer:
            for epoch, srcc in logged.validation.get(seed, {}).items():
                writer.add_scalar("validation/srcc", srcc, epoch)
            for name, value in metrics.items():
                writer.add_scalar(f"test/{name}", value, 0)
    with SummaryWriter(str(run.tensorboard_folder)) as writer:
        for name, value in logged.medians().items():
            writer.add_scalar(f"median over splits/{name}", value, 0)
        videos = "\n\n".join(
            [n_videos(evaluation.n_videos, evaluation.n_dataset), *evaluation.notes]
        )
        writer.add_text("run", f"{videos}\n\n```\n{json.dumps(logged.choices, indent=2)}\n```")
        writer.add_image("scatter", imread(run.scatter_file)[..., :3], dataformats="HWC")
    return f"tensorboard --logdir {run.tensorboard_folder}"
