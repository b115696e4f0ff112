"""The model that a run ends with: trained again on all videos, and calibrated to the dataset's
scale.

Dimensions: N videos, D columns of all prepared arrays together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vqa_twostage.fuse import metrics
from vqa_twostage.fuse.averaging import average
from vqa_twostage.fuse.data import Dataset, Features, Side, frames_of
from vqa_twostage.fuse.learning.attention import test_split_weights
from vqa_twostage.fuse.learning.averaged import refit_average
from vqa_twostage.fuse.learning.ensemble import Ensemble, mean_output
from vqa_twostage.fuse.learning.fine_tune import Start
from vqa_twostage.fuse.learning.fit import Fitted
from vqa_twostage.fuse.learning.labels import StandardLabels
from vqa_twostage.fuse.learning.loss_spec import parse_loss
from vqa_twostage.fuse.learning.model import Head, HeadOutput, QualityModel
from vqa_twostage.fuse.learning.novelty import PERCENTILES, NoveltyReference
from vqa_twostage.fuse.learning.prepare import Preparation
from vqa_twostage.fuse.learning.prepared import PreparedFeatures
from vqa_twostage.fuse.learning.sides import Prepared, prepare_side
from vqa_twostage.fuse.learning.threads import one_thread
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.splits import Split
from vqa_twostage.fuse.streams import Arrays, Shapes, Streams
from vqa_twostage.fuse.video_score import Agreement
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.identity import TrackIdentity

CALIBRATED_FROM = 20  # tested videos


@dataclass(frozen=True, eq=False)
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
    tracks: Streams[list[TrackIdentity]]
    mos: Float[np.ndarray, " 101"]
    novelty: NoveltyReference

    @property
    def distinct(self) -> list[TrackIdentity]:
        """Each track once, the spatial ones first."""
        both = [*self.tracks.spatial, *self.tracks.temporal]
        return list({track.to_text(): track for track in both}.values())


@dataclass(frozen=True, eq=False)
class AxisOfScorer:
    """What a `Scorer` has for a further label beside the output of its networks; fields as there.
    ``scale`` and ``better`` are the manifest's, ``mos`` as of `Training`.
    """

    scale: tuple[float, float]
    better: str
    regressors: dict[str, nn.Module]
    mean: float
    std: float
    curve: Float[np.ndarray, " 4"] | None
    mos: Float[np.ndarray, " 101"]


class Prediction(NamedTuple):
    """``scores`` on the scale of the training labels; the ``output`` of the head, averaged over the
    members; the ``distances`` from the training videos; the scores of further labels, on their
    scales.
    """

    scores: Float[np.ndarray, " N"]
    output: HeadOutput
    distances: Float[np.ndarray, " N"]
    axes: dict[str, Float[np.ndarray, " N"]]


@dataclass(frozen=True, eq=False)
class Scorer:
    """Features in, scores on the scale of the training labels out.

    ``preparations``: of each track of a stream. ``shapes``: of a stream's prepared arrays.
    ``curve``: the logistic of `fuse.metrics`, or None where there were too few videos to fit one.
    """

    options: TrainOptions
    preparations: Streams[list[Preparation]]
    models: list[QualityModel]
    regressors: dict[str, nn.Module]
    """In closed form, by their specs; on the scale of the labels."""
    shapes: Streams[Shapes]
    mean: float
    std: float
    curve: Float[np.ndarray, " 4"] | None
    training: Training
    agreement: Agreement | None = None
    """With the opinions of viewers, where the card of a named model says it."""
    axes: dict[str, AxisOfScorer] = field(default_factory=dict)
    """Of further labels, by their names, in the order of the networks' outputs."""

    @property
    def reads(self) -> Streams[tuple[str, ...]]:
        """The statistics that are read of each stream."""
        return Head.of(self.options).reads

    @property
    def reads_frames(self) -> bool:
        """Whether the head reads frames one by one."""
        return Head.of(self.options).reads_frames

    def scores(self, features: Streams[Side]) -> Float[np.ndarray, " N"]:
        """UsageError where a track lacks an array that the model was trained on, or has another
        number of columns.
        """
        return self.predict_with_details(features).scores

    def predict_with_details(self, features: Streams[Side]) -> Prediction:
        """`scores`, with the weights of frames, gates, and distances; raises as `scores` does."""
        with one_thread():
            for stream, (side, preparations) in features.zip(self.preparations).items():
                if len(side) != len(preparations):
                    raise UsageError(
                        f"the model was trained on {len(preparations)} {stream} tracks, and there "
                        f"are {len(side)}"
                    )
                for track, preparation in zip(side, preparations, strict=True):
                    _check_arrays(track, preparation)
            prepared = features.map(self._prepare, self.preparations)
            arrays, masks = (
                prepared.map(lambda part: part.arrays),
                prepared.map(lambda part: part.mask),
            )
            output = mean_output(self.models, arrays, masks)
            distances = self.training.novelty.distance(arrays, masks)
            scores = _calibrated(self, output.scores, arrays, masks)
            axes = {
                name: _calibrated(axis, output.axes[:, number], arrays, masks)
                for number, (name, axis) in enumerate(self.axes.items())
            }
        weights = output.weights.map(_of_all_frames, features)
        return Prediction(scores, output._replace(weights=weights), distances, axes)

    def average(
        self,
        networks: Float[Tensor, " N"],
        arrays: Streams[Arrays],
        masks: Streams[Bool[Tensor, "N _"]],
    ) -> Float[Tensor, " N"]:
        """The networks' standardised score averaged with the predictions of the regressors, on the
        scale of the labels.
        """
        return _average(self, networks, arrays, masks)

    def _prepare(self, side: Side, preparations: list[Preparation]) -> Prepared:
        # several tracks may have other frames, and go together by their means
        frames = len(side) == 1 or self.reads_frames
        return prepare_side(side, preparations, frames)


def _average(
    label: Scorer | AxisOfScorer,
    networks: Float[Tensor, " N"],
    arrays: Streams[Arrays],
    masks: Streams[Bool[Tensor, "N _"]],
) -> Float[Tensor, " N"]:
    on_scale = networks * label.std + label.mean
    with torch.inference_mode():
        return average(on_scale, [*label.regressors.values()], arrays, masks)


def _calibrated(
    label: Scorer | AxisOfScorer,
    networks: Float[Tensor, " N"],
    arrays: Streams[Arrays],
    masks: Streams[Bool[Tensor, "N _"]],
) -> Float[np.ndarray, " N"]:
    """The score of one label from the networks' standardised score of it."""
    scores = _average(label, networks, arrays, masks).double().numpy()
    return metrics.apply_logistic(label.curve, scores)


def refit(
    data: Dataset,
    options: TrainOptions,
    splits: list[Split],
    fitted: list[Fitted],
    start: Start | None = None,
    threads: int = 1,
) -> Scorer:
    """The head on all videos, and on other datasets if most splits chose so, for the epochs of most
    of those splits, with the median of all penalties. ``threads``: that prepare features.

    It is calibrated by the logistic from predictions to labels that fits videos the models had not
    seen: each video's mean over the splits that tested it.
    """
    with one_thread(), torch.random.fork_rng(devices=[]):
        everything = np.arange(len(data.mos))
        head = Head.of(options)
        features = PreparedFeatures(data, everything, compact=True, threads=threads)
        if start is not None:
            features = PreparedFeatures.from_start(data, everything, head, start, threads)
        joint = 2 * sum(result.joint for result in fitted) > len(fitted)
        ensemble = Ensemble(features, everything, head, start, joint)
        used = sorted(result.epoch for result in fitted if result.joint == joint)
        loss = parse_loss(options.loss)
        ensemble.train(splits[0].seed, options.members, loss, used[len(used) // 2])
        regressors = refit_average(features, head, [result.settings for result in fitted])
        axes = {
            name: _axis(features.of_axis(name), head, splits, fitted, labels)
            for name, labels in zip(head.axes, ensemble.axes, strict=True)
        }
    curve = _calibration(data, splits, [result.predicted for result in fitted])
    return replace(scorer_of(options, ensemble, regressors, curve), axes=axes)


def scorer_of(
    options: TrainOptions,
    ensemble: Ensemble,
    regressors: dict[str, nn.Module],
    curve: Float[np.ndarray, " 4"] | None = None,
) -> Scorer:
    """What was fitted for the main label, without the videos that it was fitted on; ``curve``
    calibrates it.
    """
    data, manifest = ensemble.data, ensemble.data.manifest
    training = Training(
        dataset=manifest.name,
        title=manifest.title,
        label=manifest.label,
        scale=manifest.scale,
        better=manifest.better,
        videos=len(data.mos),
        tracks=data.identities,
        mos=np.percentile(data.mos, PERCENTILES),
        novelty=NoveltyReference.fit(
            ensemble.tracks.map(lambda track: track.arrays),
            ensemble.tracks.map(lambda track: track.mask),
        ),
    )
    return Scorer(
        options,
        ensemble.tracks.map(lambda track: track.preparations),
        ensemble.models,
        regressors,
        ensemble.tracks.map(lambda track: track.shapes),
        ensemble.labels.mean,
        ensemble.labels.std,
        curve,
        training,
    )


def _axis(
    features: PreparedFeatures,
    head: Head,
    splits: list[Split],
    fitted: list[Fitted],
    labels: StandardLabels,
) -> AxisOfScorer:
    """``features``: with the labels of the axis; ``labels``: those that the networks learnt."""
    data = features.data
    of_axis = [result.axes[data.manifest.label] for result in fitted]
    return AxisOfScorer(
        scale=data.manifest.scale,
        better=data.manifest.better,
        regressors=refit_average(features, head, [result.settings for result in of_axis]),
        mean=labels.mean,
        std=labels.std,
        curve=_calibration(data, splits, [result.predicted for result in of_axis]),
        mos=np.percentile(data.mos, PERCENTILES),
    )


def _calibration(
    data: Dataset, splits: list[Split], predictions: Sequence[Float[np.ndarray, " N"]]
) -> Float[np.ndarray, " 4"] | None:
    """From the predictions of each split for tested videos; None where they are so few that the
    curve would follow chance.
    """
    tested = np.unique(np.concatenate([split.test for split in splits]))
    if len(tested) < CALIBRATED_FROM:
        return None
    predicted = np.stack(predictions)
    unseen = np.einsum("sn,sn->n", predicted, test_split_weights(len(data.mos), splits))
    return metrics.fit_logistic(unseen[tested], data.mos[tested])


def _of_all_frames(weights: Float[torch.Tensor, "N _"], side: Side) -> Float[torch.Tensor, "N T"]:
    """The weights of a stream's frames; equal ones where the head read nothing but means."""
    frames = frames_of(side)
    if weights.shape == frames.mask.shape:
        return weights
    return torch.from_numpy(frames.frame_shares().astype(np.float32))


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
