"""One split: validate what the training part teaches, fit again on training and validation, predict
everything. Features are prepared once, from the training part, for both fits and for all heads.

A head is an ensemble: `members` networks that differ in their seeds, and regressors in closed form
(`fuse.averaging`). Its score is the mean of the networks' mean score and of the score of each
regressor. Networks are trained to the end of their schedule; validation chooses the penalties of
the regressors, whether networks learn from other datasets where there are some (`fuse.joint`), and
whether fine-tuned ones stay where they started. The regressors are of the run's own dataset alone.

Further labels (`fuse.learning.labels`) are outputs of the same networks, and have regressors of
their own.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vqa_twostage.fuse import metrics
from vqa_twostage.fuse.averaging import FittedAverage, Setting
from vqa_twostage.fuse.learning import track_weights
from vqa_twostage.fuse.learning.averaged import fit_average
from vqa_twostage.fuse.learning.ensemble import Ensemble
from vqa_twostage.fuse.learning.fine_tune import TUNING, Start, start_or_last
from vqa_twostage.fuse.learning.joint_choice import others_help
from vqa_twostage.fuse.learning.loss_spec import parse_loss
from vqa_twostage.fuse.learning.losses import Loss
from vqa_twostage.fuse.learning.model import Head
from vqa_twostage.fuse.learning.prepared import PreparedFeatures
from vqa_twostage.fuse.learning.recipe import RECIPE
from vqa_twostage.fuse.learning.threads import one_thread
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.splits import Split
from vqa_twostage.fuse.streams import Streams


class AxisFit(NamedTuple):
    """What a split gives of a further label: predictions and settings as of `Fitted`."""

    predicted: Float[np.ndarray, " N"]
    settings: dict[str, Setting]


@dataclass(frozen=True, eq=False)
class Fitted:
    """The result of one split; weights and gates are those of the final models, averaged."""

    predicted: Float[np.ndarray, " N"]
    """On the scale of the labels: of validation videos by a model that did not see them, of all
    others by the final ones."""
    epoch: int
    """Of the networks: the last, or 0 where fine-tuning stayed at its start."""
    weights: Streams[Float[np.ndarray, "N _"]]
    """Of the frames of each track; they sum to one over the frames of a video."""
    gates: dict[str, Float[np.ndarray, "N _"]] = field(default_factory=dict)
    """And the weight of each track, where there are several (`fuse.learning.track_weights`)."""
    oracle_srcc: float = math.nan
    """The best SRCC on the test part over all epochs, which is optimistic and no valid result; NaN
    unless asked for."""
    validation_curve: dict[int, float] = field(default_factory=dict)
    """The SRCC of the validation part by epoch, of networks that were fitted on the training part
    alone; empty without epochs."""
    settings: dict[str, Setting] = field(default_factory=dict)
    """That validation chose, of each regressor in closed form by its spec."""
    seconds: float = 0.0
    """What the fit took, without preparing the features."""
    joint: bool = False
    """Whether the head learnt from other datasets as well."""
    axes: dict[str, AxisFit] = field(default_factory=dict)
    """Of further labels, by their names."""


class Validated(NamedTuple):
    """Of networks that were fitted on the training part alone: the epoch that is used, their scores
    of the validation part then, on the scale of the labels, and its SRCC by epoch; the scores of
    further labels too.
    """

    epoch: int
    unseen: Float[np.ndarray, " val"]
    srcc: dict[int, float]
    axes: list[Float[np.ndarray, " val"]]


class FittedHead(NamedTuple):
    """A head that was fitted on the training and validation parts of a split."""

    ensemble: Ensemble
    """The networks."""
    others: FittedAverage
    """The regressors that are averaged with them."""
    validated: Validated
    """Of networks that were fitted on the training part alone."""
    joint: bool
    """Whether the networks learnt from other datasets as well."""
    test_scores: dict[int, Float[Tensor, " test"]]
    """Of the networks by epoch, where ``oracle_epoch`` asks for them."""


def fit_head(
    features: PreparedFeatures, split: Split, options: TrainOptions, start: Start | None = None
) -> FittedHead:
    """The networks and regressors of `fit_split`, which takes the same arguments."""
    with one_thread(), torch.random.fork_rng(devices=[]):
        head, loss = Head.of(options), parse_loss(options.loss)
        alone = Ensemble(features, split.train, head, start)
        joint, validated = _validate(alone, features, split, loss, options)
        others = fit_average(features, head, split)
        both = np.sort(np.concatenate([split.train, split.val]))
        ensemble = Ensemble(features, both, head, start, joint)
        tested = split.test if options.oracle_epoch else None
        test_scores = ensemble.train(split.seed, options.members, loss, validated.epoch, tested)
    return FittedHead(ensemble, others, validated, joint, test_scores)


def fit_split(
    features: PreparedFeatures, split: Split, options: TrainOptions, start: Start | None = None
) -> Fitted:
    """The head of ``options`` on one split; the same on every run, to the bit, on one machine.

    ``features``: prepared from the split's training part. ``start``: what training starts from;
    None is random weights.
    """
    data, began = features.data, time.perf_counter()
    fitted = fit_head(features, split, options, start)
    ensemble, others, validated = fitted[:3]
    head = ensemble.head
    with one_thread():
        output = ensemble.output()
        gates = {name: gate.numpy() for name, gate in output.gates.items()}
        if len(data.tracks) > 1:
            gates[track_weights.NAME] = track_weights.track_weights(
                data,
                ensemble.tracks.map(lambda side: side.arrays),
                lambda arrays: ensemble.average(arrays, others.regressors),
            )
        axes: dict[str, AxisFit] = {}
        for number, (name, labels) in enumerate(zip(head.axes, ensemble.axes, strict=True)):
            of_axis = fit_average(features.of_axis(name), head, split)
            scores = labels.on_scale(output.axes[:, number])
            averaged = _averaged(scores, validated.axes[number], of_axis, split)
            axes[name] = AxisFit(averaged, of_axis.settings)
    on_scale = ensemble.labels.on_scale
    of_others = others.everywhere[split.test]
    oracle = [
        metrics.srcc(on_scale(scores) + of_others, data.mos[split.test])
        for scores in fitted.test_scores.values()
    ]
    return Fitted(
        _averaged(on_scale(output.scores), validated.unseen, others, split),
        validated.epoch,
        output.weights.map(torch.Tensor.numpy),
        gates,
        max(filter(math.isfinite, oracle), default=math.nan),
        validated.srcc,
        others.settings,
        time.perf_counter() - began,
        fitted.joint,
        axes,
    )


def _averaged(
    networks: Float[np.ndarray, " N"],
    unseen: Float[np.ndarray, " val"],
    others: FittedAverage,
    split: Split,
) -> Float[np.ndarray, " N"]:
    """The predictions of networks for one label, averaged with those of its regressors in closed
    form; for validation videos those ``unseen``, of fits that had not seen them.
    """
    share = 1 / (1 + len(others.regressors))
    predicted = share * (networks + others.everywhere)
    predicted[split.val] = share * (unseen + others.unseen)
    return predicted


def epochs_of(split: Split, options: TrainOptions, start: Start | None = None) -> int:
    """The epochs of every fit of a split."""
    usual = RECIPE.epochs_for(len(split.train))
    return options.epochs or (usual if start is None else min(usual, TUNING.epochs))


def _validate(
    alone: Ensemble, features: PreparedFeatures, split: Split, loss: Loss, options: TrainOptions
) -> tuple[bool, Validated]:
    """Whether the networks are to learn from other datasets, and how those that are chosen do."""
    of_alone = validate(alone, split, loss, options)
    if not features.data.others:
        return False, of_alone
    joint = Ensemble(features, split.train, alone.head, joint=True)
    of_joint = validate(joint, split, loss, options)
    scores = joint.labels.on_scale(joint.joint_scores[of_joint.epoch])
    if others_help(scores, of_alone.unseen, features.data.mos[split.val]):
        return True, of_joint
    return False, of_alone


def validate(ensemble: Ensemble, split: Split, loss: Loss, options: TrainOptions) -> Validated:
    """Fits networks, of the training part alone, and scores the validation part.

    They are used as they are after the last epoch: choosing among epochs on validation ranked the
    test part no better, at any size (docs/experiments.md). Of fine-tuned ones it chooses between
    the last epoch and the start. Where nothing is chosen by it, one member is enough to show how
    training went.
    """
    mos = ensemble.data.mos[split.val]
    epochs = epochs_of(split, options, ensemble.start)
    chooses = ensemble.start is not None or ensemble.data.others
    members = options.members if chooses else 1
    scores = ensemble.train(split.seed, members, loss, epochs, split.val)
    srcc = {done: metrics.srcc(scores[done].double().numpy(), mos) for done in scores}
    epoch = epochs if ensemble.start is None else start_or_last(srcc, len(mos))
    of_axes = ensemble.axis_scores[epoch].unbind(-1)
    axes = [labels.on_scale(of) for labels, of in zip(ensemble.axes, of_axes, strict=True)]
    return Validated(epoch, ensemble.labels.on_scale(scores[epoch]), srcc, axes)
