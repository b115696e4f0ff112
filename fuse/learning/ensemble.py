"""Members of one head, which differ in their seeds, trained at once; their mean output.

Dimensions: M members, N videos, B videos of a batch.
"""

from __future__ import annotations

import copy
import functools
import itertools
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vqa_twostage.fuse.averaging import average
from vqa_twostage.fuse.data import frames_of
from vqa_twostage.fuse.learning.adamw import AdamW, one_cycle
from vqa_twostage.fuse.learning.fine_tune import TUNING, Start
from vqa_twostage.fuse.learning.joint_loss import weight_of_other, within
from vqa_twostage.fuse.learning.labels import StandardLabels
from vqa_twostage.fuse.learning.losses import Loss
from vqa_twostage.fuse.learning.model import Head, HeadOutput, QualityModel
from vqa_twostage.fuse.learning.prepared import PreparedFeatures, PreparedSide
from vqa_twostage.fuse.learning.recipe import RECIPE
from vqa_twostage.fuse.streams import ArrayName, Arrays, Streams
from vqa_twostage.pipeline.errors import raise_interrupt

log = logging.getLogger(__name__)

Rows = Int[np.ndarray, " rows"]
Masks = Streams[Bool[Tensor, "N _"]]
OfScores = Callable[[Float[Tensor, " B"]], Float[Tensor, ""]]


class Batch(NamedTuple):
    """``target``: standardised labels; ``group``: the number of each video's group, from 0;
    ``axes``: standardised further labels.
    """

    arrays: Streams[Arrays]
    masks: Masks
    target: Float[Tensor, " B"]
    group: Int[Tensor, " B"]
    axes: Float[Tensor, "B axes"]


class Ensemble:
    """Members of one head, trained on the same ``rows`` of a dataset.

    ``labels`` are standardised by the mean and the deviation of those rows, and so are those of the
    head's ``axes``. ``start``: what training starts from; None is random weights. If ``joint``, the
    first half of the members learn from the other datasets of ``features`` as well
    (`fuse.learning.joint_loss`). Of the videos that `train` validated on, by epoch,
    ``joint_scores`` are those of that half alone, and ``axis_scores`` those of further labels.
    """

    def __init__(
        self,
        features: PreparedFeatures,
        rows: Rows,
        head: Head,
        start: Start | None = None,
        joint: bool = False,
    ) -> None:
        self.rows, self.head, self.data, self.start = rows, head, features.data, start
        self.others = [
            (weight_of_other(len(rows), len(other.rows)), Ensemble(other, other.rows, head))
            for other in (features.others(head) if joint else [])
        ]
        self.labels = StandardLabels.of(self.data.mos, rows)
        self.axes = [StandardLabels.of(self.data.of_axis(name).mos, rows) for name in head.axes]
        targets = [axis.target[:, None] for axis in self.axes]
        self.axis_targets = torch.cat([torch.empty(len(self.data.mos), 0), *targets], dim=1)
        self.tracks = features.of(head)
        groups = pd.factorize(self.data.manifest.rows["group"])[0]
        self.group = torch.from_numpy(groups.astype(np.int64))
        self.models: list[QualityModel] = []
        self.joint_scores: dict[int, Float[Tensor, " rows"]] = {}
        self.axis_scores: dict[int, Float[Tensor, "rows axes"]] = {}
        self._whole: Batch | None = None

    def train(
        self,
        seed: int,
        members: int,
        loss: Loss,
        epochs: int,
        validate_on: Rows | None = None,
    ) -> dict[int, Float[Tensor, " rows"]]:
        """Leaves in ``models`` the members after ``epochs``.

        Returns the members' mean scores of the videos ``validate_on`` by epoch. Where there is a
        `Start`, it is epoch 0, and only the last epoch is scored beside it.
        """
        training = self._training(self._members(seed, members), loss)
        torch.manual_seed(seed)
        tuned = [parameter for parameter in training.parameters() if parameter.requires_grad]
        batches = math.ceil(len(self.rows) / RECIPE.batch)
        if self.start is None:
            weight_decay, peak = RECIPE.weight_decay, RECIPE.peak(epochs * batches)
        else:
            weight_decay, peak = TUNING.weight_decay, TUNING.learning_rate
        optimizer = AdamW(tuned, weight_decay, self.start is not None)
        steps = itertools.count()
        scores, joint = {}, math.ceil(members / 2)
        validation = None if validate_on is None else self._batch(torch.from_numpy(validate_on))
        scored = {0, epochs} if self.start else validation_epochs(epochs)
        for epoch in range(0 if self.start else 1, epochs + 1):
            training.train(True)
            for batch in self._batches(batches) if epoch else ():
                total = self._loss(training, batch, loss)
                for weight, other in self.others:
                    total = total + weight * other._loss_of_other(training, loss, joint)
                total.backward()
                optimizer.step(*one_cycle(next(steps), epochs * batches, peak, RECIPE.warm_up))
            if validation is not None and epoch in scored:
                training.train(False)
                with torch.inference_mode():
                    output = training(validation.arrays, validation.masks)
                scores[epoch] = output.scores.mean(dim=0)
                self.axis_scores[epoch] = output.axes.mean(dim=0)
                if self.others:
                    self.joint_scores[epoch] = output.scores[:joint].mean(dim=0)
        self.models = training.snapshot()
        return scores

    def output(self) -> HeadOutput:
        """The members' mean output for all videos."""
        arrays, masks = _arrays_and_masks(self.tracks)
        output = mean_output(self.models, arrays, masks)
        if self.head.reads_frames:
            return output
        shares = self.data.features.map(
            lambda side: torch.from_numpy(frames_of(side).frame_shares().astype(np.float32))
        )
        return output._replace(weights=shares)

    def average(
        self, arrays: Streams[Arrays], regressors: Sequence[nn.Module]
    ) -> Float[Tensor, " N"]:
        """The score of all videos with these arrays, on the scale of the labels: the members' mean
        averaged with ``regressors``.
        """
        masks = self.tracks.map(lambda track: track.mask)
        scores = mean_output(self.models, arrays, masks).scores
        networks = scores * self.labels.std + self.labels.mean
        with torch.inference_mode():
            return average(networks, regressors, arrays, masks)

    def _members(self, seed: int, members: int) -> list[QualityModel]:
        """What training starts from, for prediction."""
        if self.start is not None:
            whole = self._batch(torch.from_numpy(self.rows))
            return self.start.members(whole.arrays, whole.masks)
        return [self._initialised(seed * 1000 + member) for member in range(members)]

    def _initialised(self, seed: int) -> QualityModel:
        torch.manual_seed(seed)
        return self.head.build(self.tracks.map(lambda track: track.shapes)).eval()

    def _training(self, models: list[QualityModel], loss: Loss) -> Members:
        """All members in one call where vmap can run the head, else one after the other."""
        trial, batch = StackedMembers(models), self._batch(torch.from_numpy(self.rows[:2]))
        try:
            trial.train(True)
            self._loss(trial, batch, loss).backward()
            trial.train(False)
            trial(batch.arrays, batch.masks)
        except (RuntimeError, ValueError, NotImplementedError) as error:
            raise_interrupt(error)
            name = " + ".join(str(plugin.short_spec) for plugin in self.head.of_networks)
            _note_loop(name, str(error).strip().partition("\n")[0])
            return LoopedMembers(models)
        return StackedMembers(models)

    def _batch(self, rows: Int[Tensor, " B"]) -> Batch:
        parts = self.tracks.map(lambda track: track.of(rows))
        return Batch(
            parts.map(lambda part: part[0]),
            parts.map(lambda part: part[1]),
            self.labels.target[rows],
            torch.unique(self.group[rows], return_inverse=True)[1],
            self.axis_targets[rows],
        )

    def _loss(
        self, training: Members, batch: Batch, loss: Loss, members: int | None = None
    ) -> Float[Tensor, ""]:
        """The sum over the first ``members``, None being all, none of which has a part in another's
        gradient. Of further labels: the mean over all labels, which are standardised and so count
        alike.
        """
        output = training(batch.arrays, batch.masks)
        losses = training.each(_against(batch.target, batch.group, loss), output.scores)
        if self.axes:
            for scores, target in zip(output.axes.unbind(-1), batch.axes.unbind(-1), strict=True):
                losses = losses + training.each(_against(target, batch.group, loss), scores)
            losses = losses / (1 + len(self.axes))
        return losses[:members].sum() + output.penalty[:members].sum()

    def _loss_of_other(self, training: Members, loss: Loss, members: int) -> Float[Tensor, ""]:
        """`_loss` of one batch where members are trained for another dataset: within this one."""
        batch = next(self._batches(math.ceil(len(self.rows) / RECIPE.batch)))
        return self._loss(training, batch, within(loss), members)

    def _batches(self, count: int) -> Iterator[Batch]:
        """Those of an epoch."""
        rows = torch.from_numpy(self.rows)
        if count == 1:
            if self._whole is None:  # the same in every epoch
                self._whole = self._batch(rows)
            yield self._of_one_draw(self._whole)
            return
        # parts of equal size: a last batch of two videos would have no correlation
        for part in rows[torch.randperm(len(rows))].tensor_split(count):
            yield self._of_one_draw(self._batch(part))

    def _of_one_draw(self, batch: Batch) -> Batch:
        """Where a head of means has several draws of patches, of each video one of them, at random:
        augmentation in training. Predictions are of their mean.
        """
        if self.head.reads_frames:
            return batch
        parts = batch.arrays.map(_one_draw, batch.masks)
        return batch._replace(
            arrays=parts.map(lambda part: part[0]), masks=parts.map(lambda part: part[1])
        )


@runtime_checkable
class Members(Protocol):
    """Models in training. Called with a batch, they give a `HeadOutput` whose tensors have the
    dimension M in front.
    """

    def __call__(self, arrays: Streams[Arrays], masks: Masks) -> HeadOutput: ...

    def each(self, loss: OfScores, scores: Float[Tensor, "M B"]) -> Float[Tensor, " M"]:
        """The loss of every member."""

    def parameters(self) -> Iterable[Tensor]: ...

    def train(self, mode: bool) -> None: ...

    def snapshot(self) -> list[QualityModel]:
        """Copies of the models as they are now, for prediction."""


class StackedMembers:
    """All members in one call, their parameters stacked.

    Tensors are so small that calling an operator takes longer than what it computes, so five
    members cost far less than five times one.
    """

    def __init__(self, models: list[QualityModel]) -> None:
        self.models, self.skeleton = models, copy.deepcopy(models[0])
        self.state, self.buffers = torch.func.stack_module_state(models)

    def __call__(self, arrays: Streams[Arrays], masks: Masks) -> HeadOutput:
        def of_member(state: dict[str, Tensor], buffers: dict[str, Tensor]) -> tuple[Any, ...]:
            output = torch.func.functional_call(self.skeleton, (state, buffers), (arrays, masks))
            # vmap takes tuples, and no classes of ours
            weights = tuple(output.weights)
            return output.scores, weights, output.gates, output.penalty, output.axes

        scores, weights, gates, penalty, axes = torch.func.vmap(of_member, randomness="different")(
            self.state, self.buffers
        )
        return HeadOutput(scores, Streams(*weights), gates, penalty, axes)

    def each(self, loss: OfScores, scores: Float[Tensor, "M B"]) -> Float[Tensor, " M"]:
        losses: Tensor = torch.func.vmap(loss)(scores)
        return losses

    def parameters(self) -> Iterable[Tensor]:
        return self.state.values()

    def train(self, mode: bool) -> None:
        self.skeleton.train(mode)

    def snapshot(self) -> list[QualityModel]:
        for member, model in enumerate(self.models):
            model.load_state_dict(
                {name: stack[member] for name, stack in (self.state | self.buffers).items()}
            )
        return self.models


class LoopedMembers:
    """One member after the other: slower, and it takes any module."""

    def __init__(self, models: list[QualityModel]) -> None:
        self.models = models

    def __call__(self, arrays: Streams[Arrays], masks: Masks) -> HeadOutput:
        return _stack([model(arrays, masks) for model in self.models])

    def each(self, loss: OfScores, scores: Float[Tensor, "M B"]) -> Float[Tensor, " M"]:
        return torch.stack([loss(of_member) for of_member in scores])

    def parameters(self) -> Iterable[Tensor]:
        return [weight for model in self.models for weight in model.parameters()]

    def train(self, mode: bool) -> None:
        for model in self.models:
            model.train(mode)

    def snapshot(self) -> list[QualityModel]:
        return [copy.deepcopy(model).eval() for model in self.models]


def _against(target: Float[Tensor, " B"], group: Int[Tensor, " B"], loss: Loss) -> OfScores:
    """The loss of scores for these labels."""
    return lambda scores: loss(scores, target, group)


def _one_draw(
    arrays: Arrays, mask: Bool[Tensor, "B draws"]
) -> tuple[dict[ArrayName, Float[Tensor, "B 1 ..."]], Bool[Tensor, "B 1"]]:
    """One of the rows of each video."""
    if mask.shape[1] == 1:
        return arrays, mask
    videos, chosen = torch.arange(len(mask)), torch.randint(mask.shape[1], (len(mask),))
    return {name: array[videos, chosen][:, None] for name, array in arrays.items()}, mask[:, :1]


def _arrays_and_masks(tracks: Streams[PreparedSide]) -> tuple[Streams[Arrays], Masks]:
    return tracks.map(lambda track: track.arrays), tracks.map(lambda track: track.mask)


def mean_output(models: list[QualityModel], arrays: Streams[Arrays], masks: Masks) -> HeadOutput:
    """The outputs of the members of an ensemble for N videos, averaged."""
    with torch.inference_mode():
        output = _stack([model(arrays, masks) for model in models])
        return HeadOutput(
            output.scores.mean(dim=0),
            output.weights.map(lambda weights: weights.mean(dim=0)),
            {name: gate.mean(dim=0) for name, gate in output.gates.items()},
            output.penalty.mean(),
            output.axes.mean(dim=0),
        )


def validation_epochs(epochs: int) -> set[int]:
    """The epochs of a schedule after which the validation part is scored; always also the last."""
    after = range(math.ceil(RECIPE.warm_up * epochs), epochs + 1)
    return {epoch for epoch in after if epoch % RECIPE.validate_every == 0} | {epochs}


def _stack(outputs: list[HeadOutput]) -> HeadOutput:
    """Outputs of several members as one, with the dimension M in front."""
    return HeadOutput(
        torch.stack([output.scores for output in outputs]),
        Streams(
            torch.stack([output.weights.spatial for output in outputs]),
            torch.stack([output.weights.temporal for output in outputs]),
        ),
        {
            name: torch.stack([output.gates[name] for output in outputs])
            for name in outputs[0].gates
        },
        torch.stack([output.penalty for output in outputs]),
        torch.stack([output.axes for output in outputs]),
    )


@functools.cache  # once for each head, not for each split
def _note_loop(head: str, reason: str) -> None:
    log.warning(
        "%s: torch.func.vmap cannot run this head (%s); its members are trained one after the "
        "other, which takes longer",
        head,
        reason,
    )
