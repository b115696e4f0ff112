"""The model that a run ends with: trained again on all videos, and calibrated to the dataset's
scale.

Dimensions: N videos, D columns of all prepared arrays together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from vqa_twostage.fuse import metrics
from vqa_twostage.fuse.data import Dataset, Features
from vqa_twostage.fuse.learning.attention import test_split_weights
from vqa_twostage.fuse.learning.ensemble import Ensemble, mean_output
from vqa_twostage.fuse.learning.fit import Fitted, epochs_of
from vqa_twostage.fuse.learning.loss_spec import parse_loss
from vqa_twostage.fuse.learning.model import Head, HeadOutput, QualityModel
from vqa_twostage.fuse.learning.novelty import PERCENTILES, NoveltyReference
from vqa_twostage.fuse.learning.prepare import Preparation
from vqa_twostage.fuse.learning.prepared import PreparedFeatures
from vqa_twostage.fuse.learning.threads import one_thread
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.splits import Split
from vqa_twostage.fuse.streams import Shapes, Streams
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.identity import TrackIdentity

CALIBRATED_FROM = 20  # tested videos


@dataclass(frozen=True)
class Training:
    """The data that a model was trained on. ``tracks``: the identities of its features.

    ``label``, ``scale`` and ``better`` are the manifest's, ``mos`` the percentiles 0 to 100 of its
    labels.
    """

    dataset: str
    title: str
    label: str
    scale: tuple[float, float]
    better: str
    videos: int
    tracks: Streams[TrackIdentity]
    mos: Float[np.ndarray, " 101"]
    novelty: NoveltyReference

    @property
    def has_temporal(self) -> bool:
        """Whether the temporal features are of another track than the spatial ones."""
        return self.tracks.temporal != self.tracks.spatial


class Prediction(NamedTuple):
    """``scores`` on the scale of the training labels; the ``output`` of the head, averaged over the
    members; the ``distances`` from the training videos.
    """

    scores: Float[np.ndarray, " N"]
    output: HeadOutput
    distances: Float[np.ndarray, " N"]


@dataclass(frozen=True)
class Scorer:
    """Features in, scores on the scale of the training labels out.

    ``shapes``: of each track's prepared arrays. ``curve``: the logistic of `fuse.metrics`, or None
    where there were too few videos to fit one.
    """

    options: TrainOptions
    preparations: Streams[Preparation]
    models: list[QualityModel]
    shapes: Streams[Shapes]
    mean: float
    std: float
    curve: Float[np.ndarray, " 4"] | None
    training: Training

    @property
    def reads(self) -> Streams[tuple[str, ...]]:
        """The statistics that are read of each track."""
        return Head.of(self.options).reads

    def scores(self, features: Streams[Features]) -> Float[np.ndarray, " N"]:
        """UsageError where a track lacks an array that the model was trained on, or has another
        number of columns.
        """
        return self.predict_with_details(features).scores

    def predict_with_details(self, features: Streams[Features]) -> Prediction:
        """`scores`, with the weights of frames, gates, and distances; raises as `scores` does."""
        with one_thread():
            for track, prepare in features.zip(self.preparations):
                _check_arrays(track, prepare)
            arrays = features.map(lambda track, prepare: prepare(track), self.preparations)
            masks = features.map(lambda track: torch.from_numpy(np.array(track.mask)))
            output = mean_output(self.models, arrays, masks)
            distances = self.training.novelty.distance(arrays, masks)
        scores = output.scores.double().numpy() * self.std + self.mean
        return Prediction(metrics.apply_logistic(self.curve, scores), output, distances)


def refit(
    data: Dataset, options: TrainOptions, splits: list[Split], fitted: list[Fitted]
) -> Scorer:
    """The head on all videos, for the median of the chosen epochs.

    It is calibrated by the logistic from predictions to labels that fits videos the models had not
    seen: each video's mean over the splits that tested it.
    """
    with one_thread(), torch.random.fork_rng(devices=[]):
        everything = np.arange(len(data.mos))
        features = PreparedFeatures(data, everything, compact=True)
        ensemble = Ensemble(features, everything, Head.of(options))
        epoch = int(np.median([result.epoch for result in fitted]))
        epochs = epochs_of(splits[0], options)
        loss = parse_loss(options.loss)
        ensemble.train(splits[0].seed, options.members, loss, epochs, epoch)
    manifest = data.manifest
    training = Training(
        dataset=manifest.name,
        title=manifest.title,
        label=manifest.label,
        scale=manifest.scale,
        better=manifest.better,
        videos=len(data.mos),
        tracks=data.features.map(lambda track: track.identity),
        mos=np.percentile(data.mos, PERCENTILES),
        novelty=NoveltyReference.fit(
            ensemble.tracks.map(lambda track: track.arrays),
            ensemble.tracks.map(lambda track: track.mask),
        ),
    )
    return Scorer(
        options,
        ensemble.tracks.map(lambda track: track.preparation),
        ensemble.models,
        ensemble.tracks.map(lambda track: track.shapes),
        ensemble.mean,
        ensemble.std,
        _calibration(data, splits, fitted),
        training,
    )


def _calibration(
    data: Dataset, splits: list[Split], fitted: list[Fitted]
) -> Float[np.ndarray, " 4"] | None:
    """From the predictions for tested videos; None where they are so few that the curve would
    follow chance.
    """
    tested = np.unique(np.concatenate([split.test for split in splits]))
    if len(tested) < CALIBRATED_FROM:
        return None
    predicted = np.stack([result.predicted for result in fitted])
    unseen = np.einsum("sn,sn->n", predicted, test_split_weights(len(data.mos), splits))
    return metrics.fit_logistic(unseen[tested], data.mos[tested])


def _check_arrays(track: Features, prepare: Preparation) -> None:
    for name, squash in prepare.squash.items():
        if name not in track.arrays:
            raise UsageError(
                f"{track.path} has no array {name}, which the model was trained on; it has "
                f"{', '.join(track.arrays)}"
            )
        columns = track.arrays[name].shape[2]
        if columns != len(squash.fill):
            raise UsageError(
                f"{track.path}: {name} has {columns} columns, and the model was trained on "
                f"{len(squash.fill)}"
            )
