"""Heads trained on several datasets at once: a run for each, which learns from the others as well,
and figures on datasets that are held out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vqa_twostage.fuse.cross_dataset import evaluate_on
from vqa_twostage.fuse.joint import shared_videos
from vqa_twostage.fuse.leakage import check_leakage
from vqa_twostage.fuse.matching_tracks import matching_tracks
from vqa_twostage.fuse.opinions import require_others
from vqa_twostage.fuse.options import Resources, TrainOptions
from vqa_twostage.fuse.results import CrossDatasetEvaluation, Evaluation, JointTraining
from vqa_twostage.fuse.train import OnProgress, Plan, load, no_progress, train
from vqa_twostage.pipeline.cache.choosing import choose_dataset
from vqa_twostage.pipeline.cache.layout import load_cached_manifest
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.invocation import started_as
from vqa_twostage.pipeline.notebook import bar_in_notebook


@dataclass(frozen=True)
class ChosenDatasets:
    """Which datasets of a cache are trained on, and which are held out, by name."""

    trained: tuple[str, ...]
    held_out: tuple[str, ...] = ()

    @staticmethod
    def of(cache: Path, trained: Sequence[str], held_out: Sequence[str] = ()) -> ChosenDatasets:
        """``trained``: none where the cache holds a single dataset. UsageError where one is not in
        the cache, or is named twice.
        """
        chosen = ChosenDatasets(
            tuple(choose_dataset(cache, name) for name in trained or (None,)),
            tuple(choose_dataset(cache, name) for name in held_out),
        )
        for name, count in Counter(chosen.trained + chosen.held_out).items():
            if count > 1:
                raise UsageError(
                    f"{name} is named twice among the datasets that are trained on (--dataset) or "
                    "held out (--test-on); name each once"
                )
        return chosen


@started_as("Python, train_jointly")
@bar_in_notebook("train")
def train_jointly(
    cache: str | Path,
    datasets: ChosenDatasets,
    options: TrainOptions | None = None,
    run: str | Path | None = None,
    resources: Resources | None = None,
    on_progress: OnProgress = no_progress,
    again: bool = False,
) -> JointTraining:
    """`fuse.train.train` for each of ``datasets``, with the others as its ``joint_with``.

    Everything is checked before anything is trained. Interrupted, it keeps what is finished, and
    the same call goes on.

    Args:
        cache: The folder with the features of all datasets, by tracks made alike.
        datasets: A single one is trained alone. The model of each run scores all videos of those
            that are held out.
        options: Those of every run; ``joint_with`` is set here.
        run: The folder to write, of several datasets one with a folder for each; None is as in
            `train`.
        resources: As in `train`.
        on_progress: Called with the number of splits that are done, and of all; left out, a
            notebook shows a bar.
        again: As in `train`.

    Raises:
        UsageError: As `train` does for each dataset, or a held-out one has no tracks made alike,
            or features that learnt from its opinions; nothing was trained.
    """
    options, resources, cache = options or TrainOptions(), resources or Resources(), Path(cache)
    chosen = {}
    for name in datasets.trained:
        others = tuple(sorted(set(datasets.trained) - {name}))
        chosen[name] = replace(options, joint_with=others or None)
        _check(cache, name, chosen[name], datasets.held_out, resources)
    evaluations: list[Evaluation] = []
    tested: list[CrossDatasetEvaluation] = []
    for number, (name, of_run) in enumerate(chosen.items()):
        folder = run if run is None or len(chosen) == 1 else Path(run) / name

        def progress(done: int, total: int, before: int = number) -> None:
            on_progress(before * total + done, len(chosen) * total)

        evaluation = train(cache, of_run, name, folder, resources, progress, again)
        evaluations.append(evaluation)
        tested += [
            evaluate_on(evaluation.run, other, cache, options.allow_trained_on)
            for other in datasets.held_out
        ]
    return JointTraining(evaluations, tested)


def _check(
    cache: Path, name: str, options: TrainOptions, held_out: Sequence[str], resources: Resources
) -> None:
    data, options, source = load(cache, name, options, resources.max_ram)
    check_leakage(data, options)
    Plan.of(data, options, source)
    if held_out and not options.keeps_model:
        raise UsageError(
            f"--test-on {held_out[0]} is of the model for scoring, which a baseline and a run on a "
            "part of the labels do not have; leave it out"
        )
    learnt = {track.path.stem: track.identity.opinions for track in data.tracks}
    if source is not None:
        before = tuple(dataset.lower() for dataset in source.learnt_from)
        learnt[str(options.start_from)] = before
    for other in held_out:
        require_others(other, learnt, options.allow_trained_on)
        shared = shared_videos(data.everything, load_cached_manifest(cache, other).rows).sum()
        if shared:
            raise UsageError(
                f"{shared} videos of {other} are also in {name}, by id or by group: they would be "
                f"tested and trained on; leave out --test-on {other}, or --dataset {name}"
            )
        matching_tracks(cache, other, data.identities)
