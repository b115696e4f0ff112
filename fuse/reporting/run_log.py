"""A run for programs that keep experiments: what of it they are given, and the contract of the
files in ``fuse/reporting/logs``.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

from vqa_twostage.fuse.evaluate import evaluate
from vqa_twostage.fuse.results import MAIN_METRICS, Evaluation
from vqa_twostage.fuse.run_record import RunRecord
from vqa_twostage.fuse.runs import Run
from vqa_twostage.pipeline.errors import UsageError, require_installed

LOGS = ("tensorboard", "wandb", "mlflow")
PROJECT = "vqa-twostage"
"""What the runs of this program are kept under where the user names nothing."""


@dataclass(frozen=True)
class LoggedRun:
    """A finished run, read from its folder. No value of it is undefined or withheld: such are left
    out.
    """

    run: Run
    record: RunRecord
    evaluation: Evaluation
    validation: dict[int, dict[int, float]]
    """By the seed of a split and by epoch, the SRCC of the validation part; empty of a baseline."""

    @staticmethod
    def read(folder: Path) -> LoggedRun:
        """UsageError where ``folder`` is not a run."""
        run = Run(folder)
        curves = run.validation_curve()
        validation: dict[int, dict[int, float]] = {}
        if curves is not None:
            for split, epoch, srcc in curves[["split", "epoch", "srcc"]].itertuples(index=False):
                if math.isfinite(srcc):
                    validation.setdefault(int(split), {})[int(epoch)] = float(srcc)
        return LoggedRun(run, run.record(), evaluate(folder), validation)

    @property
    def name(self) -> str:
        """That of the folder."""
        return Path(self.run.folder).resolve().name

    @property
    def key(self) -> str:
        """The same of the same run logged twice, and another where it was trained again."""
        moment = "".join(each for each in self.record.date if each.isdigit())
        return "-".join(filter(None, (self.record.identity.digest, moment)))

    @property
    def choices(self) -> dict[str, object]:
        """Specs and options that were chosen, the dataset, and N."""
        chosen = {**asdict(self.record.options), **asdict(self.record.specs)}
        values = {name: value for name, value in chosen.items() if value not in (None, "")}
        videos = {"n_videos": self.evaluation.n_videos, "n_dataset": self.evaluation.n_dataset}
        return {"dataset": self.record.dataset, **videos, **values}

    def tests(self) -> Iterator[tuple[int, dict[str, float]]]:
        """The seed of each split and its metrics."""
        for split in self.evaluation.splits:
            yield split.seed, _defined(split.metrics.to_json())

    def medians(self) -> dict[str, float]:
        """Of each metric over the splits."""
        return _defined(self.evaluation.median.to_json())


@runtime_checkable
class RunLog(Protocol):
    """A file of ``fuse/reporting/logs``."""

    PACKAGES: tuple[str, ...]
    """What it imports; the extra of its name installs them."""

    def write(self, logged: LoggedRun) -> str:
        """Keeps a run, and says where: what to type, or an address.

        UsageError where the program refuses it, with what to do; the run is not affected.
        """


def run_log(name: str) -> RunLog:
    """The log of that name; UsageError where its packages are not installed, which is told before
    anything is trained.
    """
    log = cast(RunLog, import_module(f"vqa_twostage.fuse.reporting.logs.{name}"))
    require_installed(f"--log {name}", log.PACKAGES, extra=name)
    return log


def write_logs(runs: Sequence[Path], logs: Sequence[RunLog]) -> Iterator[str]:
    """Keeps every run in every log, and says where, one after the other.

    UsageError at the end with what some of them say that refuse a run; the others have it.
    """
    refusals: list[str] = []
    for logged in map(LoggedRun.read, runs) if logs else ():
        for log in logs:
            try:
                with redirect_stdout(sys.stderr):  # where some print; stdout is for results
                    said = log.write(logged)
            except UsageError as error:
                refusals.append(str(error))
            else:
                yield said
    if refusals:
        raise UsageError("\n".join(refusals))


def _defined(metrics: dict[str, float | None]) -> dict[str, float]:
    return {name: value for name in MAIN_METRICS if (value := metrics[name]) is not None}
