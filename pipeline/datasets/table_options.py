"""Options of commands that read a dataset: how a table is to be read that no TOML describes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from vqa_twostage.pipeline.datasets.manifest import Manifest

F = TypeVar("F", bound=Callable[..., Any])

DATASET = "NAME|TOML|TABLE"
LABELS = [
    click.option(
        "--mos-column",
        metavar="NAME",
        help="Of a table: the column of the labels, in any letter case [default: mos].",
    ),
    click.option(
        "--path-column",
        metavar="NAME",
        help="Of a table: the column of the paths [default: path].",
    ),
    click.option(
        "--scale",
        type=float,
        nargs=2,
        metavar="LOWEST HIGHEST",
        help="Of a table: the range of the labels, as 1 5 [default: from the lowest to the highest "
        "that it has].",
    ),
]
# another name inside: of import-scores --better is that of the scores
BETTER = click.option(
    "--better",
    "labels_better",
    type=click.Choice(["higher", "lower"]),
    help="Of a table: which labels are the better quality; of DMOS often lower [default: higher].",
)


def label_options(function: F) -> F:
    """The columns of a table, and the scale of its labels."""
    for option in reversed(LABELS):
        function = option(function)
    return function


def table_options(function: F) -> F:
    """All that can be said of a table."""
    return label_options(BETTER(function))


def load_as_said(
    dataset: str, root: str | Path | None, values: dict[str, Any], name: str | None = None
) -> Manifest:
    """The manifest of a command's dataset; what is said of a table is taken out of ``values``,
    those of the command's options.
    """
    from vqa_twostage.pipeline.datasets.loading import load_manifest  # with pandas

    return load_manifest(
        dataset,
        root,
        name,
        mos_column=values.pop("mos_column"),
        path_column=values.pop("path_column"),
        scale=values.pop("scale"),
        better=values.pop("labels_better", None),
    )
