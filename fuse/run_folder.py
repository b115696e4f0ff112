"""What tells that a folder is a run, for who looks through folders: nothing heavy is imported."""

from __future__ import annotations

import glob
from contextlib import suppress
from pathlib import Path

import click
from click.shell_completion import CompletionItem

RECORD = "run.json"
USUAL = "runs"


def complete_runs(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """For a shell: runs, and folders of runs, whose paths begin as what is typed; without anything
    typed those in ``runs/``. Any folder where there is none, as of a model that was exported.
    """
    folder, slash, start = (incomplete or f"{USUAL}/").rpartition("/")
    place, found = Path(folder + slash).expanduser(), set()
    with suppress(OSError, ValueError):
        for inside in ("", "*/"):  # an ablation is a folder of runs
            records = place.glob(f"{glob.escape(start)}*/{inside}{RECORD}")
            found |= {record.relative_to(place).parts[0] for record in records}
    runs = [CompletionItem(f"{folder}{slash}{name}") for name in sorted(found)]
    return runs or [CompletionItem(incomplete, type="dir")]
