"""The run that a training starts from: its model, and whether it may be used for a dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd

from vqa_twostage.fuse.data import Dataset, load_tracks
from vqa_twostage.fuse.learning import scorer_file
from vqa_twostage.fuse.learning.fine_tune import TUNING, Start
from vqa_twostage.fuse.learning.model import Head
from vqa_twostage.fuse.learning.scorer import Scorer
from vqa_twostage.fuse.matching_tracks import matching_tracks
from vqa_twostage.fuse.opinions import joint_names, require_others
from vqa_twostage.fuse.options import OF_HEAD, TrainOptions
from vqa_twostage.fuse.run_record import StartIdentity
from vqa_twostage.fuse.runs import Run
from vqa_twostage.fuse.splits import Split
from vqa_twostage.pipeline.cache.choosing import choose_dataset
from vqa_twostage.pipeline.cache.layout import load_cached_manifest
from vqa_twostage.pipeline.errors import UsageError


@dataclass(frozen=True)
class SourceRun:
    """``model`` is the file of the ``scorer``, kept since its run may change while another one is
    trained. ``learnt_from``: the datasets that its heads were trained on, the last one being its
    own. ``videos``: the ids of that one.
    """

    model: bytes
    scorer: Scorer
    learnt_from: list[str]
    videos: Collection[str]

    @staticmethod
    def read(folder: str | Path) -> SourceRun:
        """UsageError where ``folder`` is no run with a model."""
        run = Run(folder)
        record, scorer = run.record(), scorer_file.load(run.folder)
        earlier = record.identity.start.learnt_from if record.identity.start else []
        beside = joint_names(record.identity)
        videos = frozenset(run.predictions()["id"])
        model = run.model_file.read_bytes()
        return SourceRun(model, scorer, [*earlier, *beside, record.dataset], videos)

    @staticmethod
    def of_run_started(run: Run) -> SourceRun | None:
        """What a finished run started from, as it is kept there; None where it was nothing."""
        start = run.record().identity.start
        if start is None:
            return None
        scorer = scorer_file.load_file(run.source_model_file)
        return SourceRun(run.source_model_file.read_bytes(), scorer, start.learnt_from, ())

    def with_head(self, options: TrainOptions) -> TrainOptions:
        """``options`` for the head of this run; UsageError where they ask for another one."""
        usual, own = TrainOptions(), self.scorer.options
        for name in OF_HEAD:
            wanted = getattr(options, name)
            if wanted not in (getattr(usual, name), getattr(own, name)):
                raise UsageError(
                    f"{name} is {wanted}, and the heads of {options.start_from} have "
                    f"{getattr(own, name)}; leave it out, or train from random weights, without "
                    "--from"
                )
        if options.baseline is not None:
            raise UsageError(
                f"the baseline {options.baseline} starts from nothing; leave out --from"
            )
        if options.joint_with:
            raise UsageError(
                f"heads that start from {options.start_from} are trained on one dataset; leave out "
                f"{', '.join(options.joint_with)}, or train on all of them from random weights, "
                "without --from"
            )
        if named := own.axes or options.axes:
            raise UsageError(
                f"heads are tuned for one label, and not for the axes {', '.join(named)}: leave "
                "out --axes, start from a run without them, or train from random weights, without "
                "--from"
            )
        if options.spatial or options.temporal:
            raise UsageError(
                f"the heads of {options.start_from} read the tracks that they were trained on; "
                "leave out --spatial and --temporal"
            )
        return replace(options, **{name: getattr(own, name) for name in OF_HEAD})

    def load_dataset(self, cache: Path, dataset: str | None, max_ram: int | None) -> Dataset:
        """A dataset in ``cache`` with the tracks that the heads read."""
        name = choose_dataset(cache, dataset)
        paths = matching_tracks(cache, name, self.scorer.training.tracks)
        reads = Head.of(self.scorer.options).reads
        return load_tracks(load_cached_manifest(cache, name), paths, reads, max_ram)

    def start(self, data: Dataset, options: TrainOptions) -> Start:
        """What training on ``data`` starts from."""
        return Start(
            self.scorer.models,
            self.scorer.preparations,
            options.tune == "last",
            None if options.preparation == "auto" else options.preparation == "refitted",
            self.scorer.training.better != data.manifest.better,
        )

    def identity(self, options: TrainOptions) -> StartIdentity:
        return StartIdentity(
            model=hashlib.sha256(self.model).hexdigest(),
            learnt_from=self.learnt_from,
            tune=options.tune,
            preparation=options.preparation,
            recipe=asdict(TUNING),
        )

    def require_unseen(self, data: Dataset, splits: Sequence[Split], options: TrainOptions) -> None:
        """UsageError where the heads were trained on videos that a split tests.

        Of the run's own dataset the videos are known, and more videos of it are others; all that
        they learnt from before or beside it must be other datasets, unless ``options`` allow it by
        name.
        """
        name, allowed = data.manifest.name, options.allow_trained_on
        earlier = [learnt.lower() for learnt in self.learnt_from[:-1]]
        require_others(name, {str(options.start_from): earlier}, allowed)
        if self.learnt_from[-1].lower() != name.lower() or (allowed or "").lower() == name.lower():
            return
        ids: pd.Series = data.manifest.rows["id"]
        for split in splits:
            if seen := int(ids.iloc[split.test].isin(self.videos).sum()):
                raise UsageError(
                    f"{options.start_from} was trained on {seen} of the {len(split.test)} test "
                    f"videos of split {split.seed}; start from a run on another dataset than "
                    f"{name}, or give a protocol that tests none of them, such as official"
                )
