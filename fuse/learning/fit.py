"""One split, straight down: choose the epoch on validation, fit again on training and validation,
predict everything.

A head is an ensemble: `members` models that differ in their seeds, whose scores are averaged. The
epoch is chosen once, by the validation SRCC of that average. A part of up to `BATCH` videos is one
batch: the labels of small datasets are few, and losses such as PLCC want them together.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from threadpoolctl import threadpool_limits
from torch import Tensor

from vqa_twostage.fuse import metrics
from vqa_twostage.fuse.data import Dataset
from vqa_twostage.fuse.learning.losses import Loss, parse_loss
from vqa_twostage.fuse.learning.model import Answer, Head, QualityModel
from vqa_twostage.fuse.learning.prepare import CLIP, COMPONENTS, Preparation
from vqa_twostage.fuse.learning.prepare import VERSION as PREPARATION_VERSION
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.splits import Split

VERSION = 2  # of this recipe: raised when the same options give other figures
LEARNING_RATE = 1e-2
WEIGHT_DECAY = 1.0
BATCH = 2048
# the part of training in which the learning rate still rises: no epoch of it is chosen, however
# lucky its validation
WARM_UP = 0.3
# after it, validation is looked at every so many epochs
VALIDATE_EVERY = 4
RECIPE = {
    "version": VERSION,
    "learning_rate": LEARNING_RATE,
    "weight_decay": WEIGHT_DECAY,
    "batch": BATCH,
    "warm_up": WARM_UP,
    "validate_every": VALIDATE_EVERY,
    "preparation": PREPARATION_VERSION,
    "components": COMPONENTS,
    "clip": CLIP,
}

Rows = Int[np.ndarray, " rows"]


@dataclass(frozen=True)
class Fitted:
    """What a split gives. ``predicted`` is on the scale of the labels: of validation videos by the
    models that did not see them, of all others by the final ones. Weights and gates are those of
    the final models, averaged.

    ``oracle_srcc``: the best SRCC on the test part over all epochs, which no honest evaluation may
    claim; NaN unless asked for. ``learning``: the validation SRCC by epoch, as it was when the
    epoch was chosen; empty without epochs.
    """

    predicted: Float[np.ndarray, " N"]
    epoch: int
    spatial_weights: Float[np.ndarray, "N T"]
    temporal_weights: Float[np.ndarray, "N U"]
    gates: dict[str, Float[np.ndarray, "N _"]] = field(default_factory=dict)
    oracle_srcc: float = math.nan
    learning: dict[int, float] = field(default_factory=dict)


def fit_split(data: Dataset, split: Split, options: TrainOptions) -> Fitted:
    """The head of ``options`` on one split; the same on every run, to the bit, on one machine."""
    with one_thread(), torch.random.fork_rng(devices=[]):
        head, loss = Head.of(options), parse_loss(options.loss)
        epoch, unseen, learning = choose_epoch(data, split, head, loss, options)
        both = np.sort(np.concatenate([split.train, split.val]))
        ensemble = Ensemble(data, both, head)
        tested = split.test if options.oracle_epoch else None
        looked = ensemble.train(split.seed, options.members, loss, options.epochs, epoch, tested)
        answer = ensemble.answer()
    predicted = answer.scores.double().numpy() * ensemble.std + ensemble.mean
    predicted[split.val] = unseen
    mos = data.mos[split.test]
    best = [
        value for scores in looked.values() if math.isfinite(value := metrics.srcc(scores, mos))
    ]
    return Fitted(
        predicted,
        epoch,
        answer.spatial_weights.numpy(),
        answer.temporal_weights.numpy(),
        {name: gate.numpy() for name, gate in answer.gates.items()},
        max(best, default=math.nan),
        learning,
    )


def choose_epoch(
    data: Dataset, split: Split, head: Head, loss: Loss, options: TrainOptions
) -> tuple[int, Float[np.ndarray, " val"], dict[int, float]]:
    """The epoch after which the ensemble, fitted on the training part, ranks the validation part
    best; its scores.

    Last, the validation SRCC of every epoch that was looked at.
    """
    ensemble = Ensemble(data, split.train, head)
    looked = ensemble.train(
        split.seed, options.members, loss, options.epochs, options.epochs, split.val
    )
    # an undefined SRCC (constant scores) never wins, unless nothing else comes; of equals the first
    score = {done: metrics.srcc(scores, data.mos[split.val]) for done, scores in looked.items()}
    epoch = max(score, key=lambda done: score[done] if math.isfinite(score[done]) else -math.inf)
    return epoch, looked[epoch] * ensemble.std + ensemble.mean, score


class Ensemble:
    """Members of one head, trained on the same rows of a dataset; ``mean`` and ``std`` are of the
    rows' labels.

    All members are trained at once, their parameters stacked: tensors are so small that calling an
    operator takes longer than what it computes, so five members cost far less than five times one.
    ``compact``: for a model that is kept, whose file is then half as large.
    """

    def __init__(self, data: Dataset, rows: Rows, head: Head, compact: bool = False) -> None:
        self.rows, self.head = rows, head
        self.mean, self.std = float(data.mos[rows].mean()), max(float(data.mos[rows].std()), 1e-6)
        tracks = data.spatial.only(head.reads[0]), data.temporal.only(head.reads[1])
        self.preparations = [Preparation.fit(track, rows) for track in tracks]
        if compact:
            self.preparations = [prepare.compact() for prepare in self.preparations]
        self.arrays = [
            prepare(track) for prepare, track in zip(self.preparations, tracks, strict=True)
        ]
        self.shapes = [
            {name: tuple(array.shape[2:]) for name, array in arrays.items()}
            for arrays in self.arrays
        ]
        self.masks = [torch.from_numpy(np.array(track.mask)) for track in tracks]
        self.target = torch.from_numpy((data.mos - self.mean) / self.std).float()
        self.group = torch.from_numpy(pd.factorize(data.manifest.rows["group"])[0].astype(np.int64))
        self.models: list[QualityModel] = []

    def train(
        self,
        seed: int,
        members: int,
        loss: Loss,
        epochs: int,
        stop: int,
        look_at: Rows | None = None,
    ) -> dict[int, Float[np.ndarray, " rows"]]:
        """Leaves in ``models`` what the members are after ``stop`` epochs of a schedule of
        ``epochs``.

        With ``look_at`` the whole schedule is run, and the members' mean scores of those videos are
        returned, by epoch.
        """
        self.models = [self._fresh(seed * 1000 + member) for member in range(members)]
        skeleton = copy.deepcopy(self.models[0])
        state, buffers = torch.func.stack_module_state(self.models)

        def answers(rows: Int[Tensor, " rows"]) -> Answer:
            arrays = [{name: array[rows] for name, array in track.items()} for track in self.arrays]
            masks = [mask[rows] for mask in self.masks]

            def one(weights: dict[str, Tensor], constants: dict[str, Tensor]) -> Answer:
                return torch.func.functional_call(skeleton, (weights, constants), (*arrays, *masks))

            return torch.func.vmap(one, randomness="different")(state, buffers)

        torch.manual_seed(seed)
        optimizer = torch.optim.AdamW(state.values(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        batches = math.ceil(len(self.rows) / BATCH)
        steps = epochs * batches
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, LEARNING_RATE, total_steps=steps, pct_start=WARM_UP
        )
        looked = {}
        for epoch in range(1, (stop if look_at is None else epochs) + 1):
            skeleton.train()
            for rows in self._batches(batches):
                answer = answers(rows)
                group = torch.unique(self.group[rows], return_inverse=True)[1]
                losses = [loss(scores, self.target[rows], group) for scores in answer.scores]
                value = torch.stack(losses).sum() + answer.penalty.sum()
                optimizer.zero_grad()
                value.backward()
                optimizer.step()
                schedule.step()
            if epoch == stop:
                for member, model in enumerate(self.models):
                    model.load_state_dict(
                        {name: weights[member] for name, weights in (state | buffers).items()}
                    )
            if look_at is not None and epoch in _looked_at(epochs):
                skeleton.eval()
                with torch.inference_mode():
                    looked[epoch] = (
                        answers(torch.from_numpy(look_at)).scores.mean(dim=0).double().numpy()
                    )
        return looked

    def _fresh(self, seed: int) -> QualityModel:
        torch.manual_seed(seed)
        return self.head.build(*self.shapes).eval()

    def answer(self) -> Answer:
        """The members' mean answer to all videos."""
        return mean_answer(self.models, self.arrays, self.masks)

    def _batches(self, count: int) -> Iterator[Int[Tensor, " batch"]]:
        rows = torch.from_numpy(self.rows)
        if count == 1:
            yield rows
            return
        # parts of equal size: a last batch of two videos would have no correlation
        yield from rows[torch.randperm(len(rows))].tensor_split(count)


def mean_answer(
    models: list[QualityModel],
    arrays: list[dict[str, Float[Tensor, "N ..."]]],
    masks: list[Bool[Tensor, "N _"]],
) -> Answer:
    """What the members of an ensemble say of N videos, averaged: scores, weights and gates."""
    with torch.inference_mode():
        answers = [model(*arrays, *masks) for model in models]
    gates = {name: _mean([answer.gates[name] for answer in answers]) for name in answers[0].gates}
    scores, spatial, temporal = (_mean([answer[part] for answer in answers]) for part in range(3))
    return Answer(scores, spatial, temporal, gates, answers[0].penalty)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch and for linear algebra: sums of several threads differ in their last
    bits by their number, and with tensors as small as these a second thread mostly waits. Splits
    run side by side instead.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def _looked_at(epochs: int) -> set[int]:
    after = range(math.ceil(WARM_UP * epochs), epochs + 1)
    return {epoch for epoch in after if epoch % VALIDATE_EVERY == 0} | {epochs}


def _mean(tensors: list[Tensor]) -> Tensor:
    return torch.stack(tensors).mean(dim=0)
