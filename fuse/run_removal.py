"""`plan_removal` and `remove`: finished, interrupted and damaged runs are taken from the disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vqa_twostage.fuse.run_list import is_run
from vqa_twostage.fuse.runs import Run
from vqa_twostage.pipeline.errors import UsageError


@dataclass(frozen=True)
class RunRemoval:
    """The runs that are to be removed."""

    folders: tuple[Path, ...]

    def __str__(self) -> str:
        """For people, with a line for each run."""
        count = len(self.folders)
        return f"{count} run{'s' * (count > 1)}" + "".join(f"\n  {path}" for path in self.folders)


def plan_removal(runs: Sequence[str | Path]) -> RunRemoval:
    """What `remove` is to remove; nothing is changed yet.

    Args:
        runs: Folders of runs, each finished, interrupted or damaged.

    Raises:
        UsageError: One is a link, or is not recognised as a run: neither its record can be read,
            nor has it predictions or finished splits.
    """
    if not runs:
        raise UsageError("--remove needs a run or more, as runs/demo-dynamic-1a2b3c4d5e")
    folders = tuple(dict.fromkeys(map(Path, runs)))
    for folder in folders:
        if folder.is_symlink():
            raise UsageError(
                f"{folder} is a link to {folder.readlink()}; nothing was removed: remove the link "
                "itself, or give the folder that it leads to"
            )
        if not _is_certainly_a_run(folder):
            raise UsageError(
                f"{folder} is not a run, and nothing was removed; vqa-fuse runs lists runs, and "
                "those of an ablation are the folders in it"
            )
    return RunRemoval(folders)


def remove(removal: RunRemoval) -> list[Path]:
    """Removes the files of runs, and their folders where nothing else is left in them.

    A link in a run is removed, and never what it leads to. The record goes first, so that a run
    whose removal was interrupted is no whole run.

    Args:
        removal: As `plan_removal` gives it.

    Returns:
        Folders that stay, since they hold files that no run writes.
    """
    kept = []
    for folder in removal.folders:
        Run(folder).remove()
        if folder.exists():
            kept.append(folder)
    return kept


def _is_certainly_a_run(folder: Path) -> bool:
    """A record that cannot be read may be of another program."""
    run = Run(folder)
    if not folder.is_dir() or not is_run(run):
        return False
    if run.has_predictions or run.finished_splits:
        return True
    try:
        run.record()
    except UsageError:
        return False
    return True
