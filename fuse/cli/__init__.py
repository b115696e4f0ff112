"""vqa-fuse: its commands parse and print; the modules of `fuse` do the work."""

from __future__ import annotations

import click

from vqa_twostage.fuse.cli import models, results, runs, score, scores, training
from vqa_twostage.pipeline import console
from vqa_twostage.pipeline.console import version_option


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@version_option
def command() -> None:
    """Stage two: train light heads on cached features, and evaluate them on unseen contents.

    \b
    Example
      vqa-fuse train --fusion dynamic
    """


for subcommand in (
    training.train,
    training.ablate,
    training.learning_curve,
    scores.import_scores,
    results.evaluate,
    results.compare,
    results.reproduce,
    runs.runs,
    models.report,
    score.score,
    models.export,
):
    command.add_command(subcommand)


def main() -> None:
    console.run(command)
