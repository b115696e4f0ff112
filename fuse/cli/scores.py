"""vqa-fuse import-scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from vqa_twostage.pipeline.completion import any_dataset
from vqa_twostage.pipeline.console import (
    LocalPath,
    as_json_option,
    cache_option,
    print_unmatched,
    printable,
)
from vqa_twostage.pipeline.datasets.table_options import DATASET, label_options, load_as_said
from vqa_twostage.pipeline.errors import DONE, SOME_FAILED


@click.command("import-scores")
@click.argument("file", type=LocalPath())
@click.option("--name", required=True, help="What the model is called: DOVER, FAST-VQA.")
@click.option(
    "--dataset",
    shell_complete=any_dataset(),
    required=True,
    metavar=DATASET,
    help="Whose videos were scored, with its labels.",
)
@click.option(
    "--better",
    type=click.Choice(["higher", "lower"]),
    default="higher",
    show_default=True,
    help="Which scores are the better quality.",
)
@click.option(
    "--trained-on",
    metavar="NAME[,NAME…]",
    help="Datasets from whose opinions the model learnt, as lsvq; every figure says so.",
)
@click.option(
    "--score-column",
    metavar="NAME",
    help="The column of the scores, of arrays its number from 0 [default: where it is clear].",
)
@click.option(
    "--id-column",
    metavar="NAME",
    help="The column that names the videos [default: the one that does].",
)
@click.option("--key", help="Which array of FILE; may be left out where only one can be meant.")
@click.option(
    "--root",
    metavar="DIR|ADDRESS",
    type=click.Path(path_type=str),
    help="Where the labels are; else $VQA_DATA/<dataset>.",
)
@label_options
@cache_option("Where the scores go.")
@as_json_option
def import_scores(
    file: Path,
    name: str,
    dataset: str,
    root: str | None,
    cache: Path,
    as_json: bool,
    **said: Any,
) -> int:
    """Put the scores that a published model gave the videos of a dataset into the cache; exit code
    3 where some videos have none.

    FILE is a table (.csv, .tsv, .txt, .xlsx, .json, .jsonl) with a row for each video, or arrays
    (.npz with ids, .mat, .npy, .h5) as vqa-cache import reads them. Names of videos may have
    folders and extensions. No head reads scores: ablate --score NAME, or train --baseline
    published:score=NAME, makes rows of them on the same splits, as they are and re-fitted.

    \b
    Example
      vqa-fuse import-scores dover.csv --name DOVER --dataset konvid --root labels \\
               --score-column overall --trained-on lsvq
      vqa-fuse ablate --dataset konvid --score DOVER --baselines ridge
    """
    from vqa_twostage.fuse import import_scores as importing
    from vqa_twostage.pipeline.identity import parse_opinions

    opinions = "" if said["trained_on"] is None else parse_opinions(said["trained_on"])
    manifest = load_as_said(dataset, root, said)
    chosen = importing.ScoreColumn(said["score_column"], said["id_column"], said["key"])
    result = importing.import_scores(manifest, cache, file, name, chosen, said["better"], opinions)
    if as_json:
        click.echo(json.dumps(result.to_json(), indent=2))
    else:
        click.echo("\n".join(printable(line) for line in importing.summary(result)))
    print_unmatched("score", result.missing, result.ambiguous, result.unknown)
    return SOME_FAILED if result.missing else DONE
