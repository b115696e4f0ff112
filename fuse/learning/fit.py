"""One split: choose the epoch on validation, fit again on training and validation, predict
everything. Features are prepared once, from the training part, for both fits and for all heads.

A head is an ensemble: `members` models that differ in their seeds, whose scores are averaged. The
epoch is chosen once, by the validation SRCC of that average; where there are other datasets
(`fuse.joint`), so is whether the head learns from them.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float

from vqa_twostage.fuse import metrics
from vqa_twostage.fuse.learning.ensemble import Ensemble
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


@dataclass(frozen=True)
class Fitted:
    """The result of one split; weights and gates are those of the final models, averaged."""

    predicted: Float[np.ndarray, " N"]
    """On the scale of the labels: of validation videos by the models that did not see them, of all
    others by the final ones."""
    epoch: int
    weights: Streams[Float[np.ndarray, "N _"]]
    """Of the frames of each track; they sum to one over the frames of a video."""
    gates: dict[str, Float[np.ndarray, "N _"]] = field(default_factory=dict)
    oracle_srcc: float = math.nan
    """The best SRCC on the test part over all epochs, which is optimistic and no valid result; NaN
    unless asked for."""
    validation_curve: dict[int, float] = field(default_factory=dict)
    """The validation SRCC by epoch while the epoch was chosen; empty without epochs."""
    seconds: float = 0.0
    """What the fit took, without preparing the features."""
    joint: bool = False
    """Whether the head learnt from other datasets as well."""


def fit_split(features: PreparedFeatures, split: Split, options: TrainOptions) -> Fitted:
    """The head of ``options`` on one split; the same on every run, to the bit, on one machine.

    ``features``: prepared from the split's training part.
    """
    data, start = features.data, time.perf_counter()
    with one_thread(), torch.random.fork_rng(devices=[]):
        head, loss = Head.of(options), parse_loss(options.loss)
        epochs = epochs_of(split, options)
        joint, (epoch, unseen, validation_curve) = _choose(features, split, head, loss, options)
        both = np.sort(np.concatenate([split.train, split.val]))
        ensemble = Ensemble(features, both, head, joint)
        tested = split.test if options.oracle_epoch else None
        test_scores = ensemble.train(split.seed, options.members, loss, epochs, epoch, tested)
        output = ensemble.output()
    predicted = output.scores.double().numpy() * ensemble.std + ensemble.mean
    predicted[split.val] = unseen
    oracle = [metrics.srcc(scores, data.mos[split.test]) for scores in test_scores.values()]
    return Fitted(
        predicted,
        epoch,
        output.weights.map(torch.Tensor.numpy),
        {name: gate.numpy() for name, gate in output.gates.items()},
        max(filter(math.isfinite, oracle), default=math.nan),
        validation_curve,
        time.perf_counter() - start,
        joint,
    )


def epochs_of(split: Split, options: TrainOptions) -> int:
    """The most epochs of every fit of a split."""
    return options.epochs or RECIPE.epochs_for(len(split.train))


Choice = tuple[int, Float[np.ndarray, " val"], dict[int, float]]


def _choose(
    features: PreparedFeatures, split: Split, head: Head, loss: Loss, options: TrainOptions
) -> tuple[bool, Choice]:
    """Whether the head is to learn from other datasets, and the epoch."""
    ensemble = Ensemble(features, split.train, head)
    alone = choose_epoch(ensemble, split, loss, options)
    if not features.data.others:
        return False, alone
    ensemble = Ensemble(features, split.train, head, joint=True)
    joint = choose_epoch(ensemble, split, loss, options)
    if others_help(ensemble.joint_scores[joint[0]], alone[1], features.data.mos[split.val]):
        return True, joint
    return False, alone


def choose_epoch(ensemble: Ensemble, split: Split, loss: Loss, options: TrainOptions) -> Choice:
    """Fits the ensemble, which is of the training part alone.

    Returns the epoch after which it ranks the validation part best, its scores of that part, and
    the validation SRCC of every epoch that was validated.
    """
    mos = ensemble.data.mos
    epochs = epochs_of(split, options)
    scores = ensemble.train(split.seed, options.members, loss, epochs, epochs, split.val)
    srcc = {done: metrics.srcc(scores[done], mos[split.val]) for done in scores}
    # an undefined SRCC (constant scores) never wins, unless nothing else comes; of equals the first
    epoch = max(srcc, key=lambda done: srcc[done] if math.isfinite(srcc[done]) else -math.inf)
    return epoch, scores[epoch] * ensemble.std + ensemble.mean, srcc
