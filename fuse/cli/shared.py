"""Options that several commands of vqa-fuse have."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

import click

from vqa_twostage.fuse.learning.loss_spec import available_losses
from vqa_twostage.fuse.options import CHOICES, OF_SOURCE, Resources, TrainOptions
from vqa_twostage.fuse.run_folder import complete_runs
from vqa_twostage.pipeline import presets
from vqa_twostage.pipeline.cache import CACHE_VARIABLE
from vqa_twostage.pipeline.completion import ALL, cached_datasets, names, plugins, tracks
from vqa_twostage.pipeline.console import (
    LocalPath,
    as_json_option,
    cache_option,
    preset_option,
    show,
)
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.files import require_place, write_text
from vqa_twostage.pipeline.ray_cluster import RayCluster, check_address

if TYPE_CHECKING:
    from vqa_twostage.fuse.results import Comparison

DEFAULTS = TrainOptions()
FOLDER = LocalPath()

# of --average-with
NONE = {"none": "the networks alone"}

F = TypeVar("F", bound=Callable[..., Any])

# of commands that read a run; `fuse.runs` also looks the variable up, where the run's cache moved
run_cache_option = click.option(
    "--cache",
    type=FOLDER,
    help=f"The folder with the features [default: ${CACHE_VARIABLE} or the run's cache].",
)


def _place_of_table(_: click.Context, __: click.Parameter, path: Path | None) -> Path | None:
    """Says before anything is trained that a file could not be written."""
    if path is not None:
        require_place("--latex", path, "a file, as in table.tex")
    return path


latex_option = click.option(
    "--latex",
    type=FOLDER,
    metavar="FILE",
    callback=_place_of_table,
    help="Also write the table for LaTeX (booktabs), with N and the protocol in its caption.",
)
workers_option = click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=os.cpu_count() or 1,
    help="Splits that are fitted side by side; changes no result [default: one per core].",
)

ALLOW_TRAINED_ON = click.option(
    "--allow-trained-on",
    shell_complete=cached_datasets(),
    metavar="NAME",
    help="The name of the dataset, to use features that learnt from its own opinions.",
)

AXES = click.option(
    "--axes",
    metavar="NAMES",
    multiple=True,
    callback=lambda _context, _option, lists: tuple(
        name.strip() for names in lists for name in names.split(",") if name.strip()
    ),
    help="Further labels of the dataset that the head learns with the main one, such as "
    "technical,aesthetic: each has an output and figures of its own.",
)

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


class ByteSize(click.ParamType[int]):
    """``8GB``, ``500 MB`` or ``2e9``, in bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"\s*([\d.]+(?:e\d+)?)\s*([KMGT]?)i?B?\s*", value, re.IGNORECASE)
        try:
            number = float(found[1]) if found else -1.0
        except ValueError:  # more than one point
            number = -1.0
        if not 0 <= number < float("inf"):
            self.fail(f"{value!r} is not a size; give one such as 8GB or 500MB", param, ctx)
        assert found is not None
        return int(number * UNITS[found[2].upper()])


TRAINING = [
    click.option(
        "--temporal-pooling",
        shell_complete=plugins("fuse.pooling"),
        metavar="SPEC",
        help="Pooling of the temporal track [default: as --pooling].",
    ),
    click.option(
        "--spatial",
        shell_complete=tracks("spatial", ALL),
        metavar="TRACK",
        multiple=True,
        help="Spatial track; may be repeated, or be all; may be left out where there is only one.",
    ),
    click.option(
        "--temporal",
        shell_complete=tracks("temporal", ALL),
        metavar="TRACK",
        multiple=True,
        help="Temporal track; the same, and may be left out where there is at most one.",
    ),
    click.option(
        "--protocol",
        shell_complete=plugins("fuse.protocols"),
        metavar="SPEC",
        help=f"How videos are split; see train --list [default: {DEFAULTS.protocol}].",
    ),
    click.option(
        "--loss",
        shell_complete=names(lambda _: available_losses(), "+"),
        metavar="SPEC",
        help=f"Losses joined by + [default: {DEFAULTS.loss}].",
    ),
    click.option(
        "--seed",
        type=click.IntRange(min=0),
        help=f"Added to every seed [default: {DEFAULTS.seed}].",
    ),
    click.option(
        "--epochs",
        type=click.IntRange(min=1),
        help="Epochs of the networks "
        "[default: 120 up to 240 training videos, 40 from 720 to 24576, fewer beyond].",
    ),
    click.option(
        "--members",
        type=click.IntRange(min=1),
        help="Models whose scores are averaged, each with a seed of its own "
        f"[default: {DEFAULTS.members}].",
    ),
    click.option(
        "--average-with",
        shell_complete=plugins("fuse.closed_form", NONE, ","),
        metavar="SPECS",
        help="Regressors in closed form whose scores are averaged with those of the networks: a "
        f"list, or none [default: {DEFAULTS.average_with}].",
    ),
    ALLOW_TRAINED_ON,
    click.option(
        "--allow-label-like",
        metavar="COLUMNS",
        help="Columns that rank the videos as their labels do and are features nevertheless, as "
        "'net/mean[3]', joined by commas.",
    ),
    preset_option,
    cache_option("The folder with the features."),
    workers_option,
    click.option(
        "--max-ram",
        type=ByteSize(),
        metavar="SIZE",
        help="Features that take more, such as 8GB, stay in the cache and are read in blocks; "
        "changes no result [default: a quarter of the machine's memory].",
    ),
    as_json_option,
]


FROM = [
    click.option(
        "--from",
        "start_from",
        shell_complete=complete_runs,
        metavar="RUN",
        help="Start from the heads of this run, of another dataset or of other videos, on the same "
        "kinds of tracks [default: random weights].",
    ),
    click.option(
        "--tune",
        type=click.Choice(CHOICES["tune"]),
        help=f"With --from: what is trained, all or the last layer [default: {DEFAULTS.tune}].",
    ),
    click.option(
        "--preparation",
        type=click.Choice(CHOICES["preparation"]),
        help="With --from: features are prepared with statistics of that run (kept), or of the new "
        f"training part (refitted), or by its size [default: {DEFAULTS.preparation}].",
    ),
]


def from_options(function: F) -> F:
    """The options of a training that starts from a run."""
    for option in reversed(FROM):
        function = option(function)
    return function


def check_from(values: Mapping[str, Any]) -> None:
    """UsageError where options are given that a start has no use for, or has already decided."""
    if values["start_from"] is None:
        if unused := [name for name in CHOICES if values[name] is not None]:
            raise UsageError(f"--{unused[0]} is about heads that are tuned; give --from RUN too")
        return
    chosen = [name for name in OF_SOURCE if values.get(name) not in (None, ())]
    if chosen:
        listed = ", ".join(f"--{name.replace('_', '-')}" for name in chosen)
        raise UsageError(f"--from takes the head and the tracks of its run, so leave out {listed}")


def resources_of(values: dict[str, Any]) -> Resources:
    """Takes them out of the values of a command's options."""
    workers, max_ram = values.pop("workers"), values.pop("max_ram")
    engine, address = values.pop("engine", None) or "local", values.pop("ray_address", None)
    check_address(engine, address)
    return Resources(RayCluster(address) if engine == "ray" else workers, max_ram)


def training_options(function: F) -> F:
    """The options that train and ablate share."""
    for option in reversed(TRAINING):
        function = option(function)
    return function


def options_of(preset: str | None, values: dict[str, Any]) -> TrainOptions:
    """What a preset sets, replaced by what the command line sets."""
    chosen = {name: value for name, value in values.items() if value not in (None, ())}
    where = "options" if preset is None else str(presets.path_of(preset))
    return TrainOptions.from_mapping({**presets.load(preset, "fuse"), **chosen}, where)


@runtime_checkable
class Result(Protocol):
    """What a command returns."""

    def to_json(self) -> dict[str, Any]: ...


R = TypeVar("R", bound=Result)


def write_latex(comparison: Comparison, path: Path | None) -> None:
    """To ``path``, where one was given."""
    if path is None:
        return
    from vqa_twostage.fuse.reporting import latex

    write_text(path, latex.of_comparison(comparison))
    click.echo(f"LaTeX: {path}", err=True)


def print_result(result: R, as_json: bool, print_text: Callable[[R], None]) -> None:
    """As one JSON document, or for people."""
    if as_json:
        show(result.to_json(), as_json, click.echo)
    else:
        print_text(result)
