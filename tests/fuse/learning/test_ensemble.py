"""Members of an ensemble are trained together, or one by one where `torch.func.vmap` fails."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fitting import fit
from plugin_files import install
from toy_cache import labels, with_draws

from vqa_twostage.fuse import metrics
from vqa_twostage.fuse.data import Dataset
from vqa_twostage.fuse.learning import ensemble
from vqa_twostage.fuse.learning.ensemble import Ensemble, LoopedMembers, StackedMembers
from vqa_twostage.fuse.learning.loss_spec import parse_loss
from vqa_twostage.fuse.learning.model import Head
from vqa_twostage.fuse.learning.prepared import PreparedFeatures
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.splits import Split, splits
from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.datasets.axes import Axis

pytestmark = pytest.mark.usefixtures("one_thread")

QUICK = TrainOptions(fusion="concat", epochs=30, members=2)
RECURRENT = '''"""The states of torch's own GRU, averaged."""

import torch
from torch import nn

VERSION = 1


def build(channels, *, hidden: int = 16):
    return Recurrent(channels, hidden)


class Recurrent(nn.Module):
    def __init__(self, channels, hidden):
        super().__init__()
        self.out_channels = hidden
        self.body = nn.GRU(channels, hidden, batch_first=True)

    def forward(self, tokens, mask):
        states, _ = self.body(tokens.masked_fill(~mask[..., None], 0.0))
        return states, mask / mask.sum(dim=1, keepdim=True)
'''
BRANCHING = '''"""The tokens, halved where they are large: a branch on values."""

from torch import nn

VERSION = 1


def build(channels):
    return Branching(channels)


class Branching(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.out_channels = channels
        self.body = nn.Linear(channels, channels)

    def forward(self, tokens, mask):
        tokens = self.body(tokens)
        if tokens.abs().mean() > 1:
            tokens = tokens / 2
        return tokens, mask / mask.sum(dim=1, keepdim=True)
'''
PLUGINS = {"recurrent": RECURRENT, "branching": BRANCHING}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, code in PLUGINS.items():
        install(f"fuse/temporal/{name}.py", code, tmp_path, monkeypatch)


def first_split(data: Dataset) -> Split:
    return splits("random:n=1", data.manifest.rows)[1][0]


@pytest.mark.long
@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("encoder", PLUGINS)
def test_head_that_vmap_cannot_run_is_trained_member_by_member_with_one_warning(
    encoder: str, toy_data: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    split, mos = first_split(toy_data), labels(toy_data)
    options = replace(QUICK, temporal_encoder=encoder)
    with caplog.at_level(logging.WARNING):
        first, again = (fit(toy_data, split, options) for _ in range(2))
    assert metrics.srcc(first.predicted[split.test], mos[split.test]) > 0.7
    assert np.array_equal(first.predicted, again.predicted)
    (warning,) = [record.getMessage() for record in caplog.records]
    assert f"{encoder}: torch.func.vmap cannot run this head" in warning
    assert "trained one after the other, which takes longer" in warning


def test_stacked_and_looped_training_give_the_same_scores(
    toy_data: Dataset, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without dropout, as the two draw its random numbers in different orders."""
    head = Head(
        spec.resolve("fuse.pooling", "avg:level_dropout=0"),
        spec.resolve("fuse.pooling", "avg:level_dropout=0"),
        spec.resolve("fuse.temporal", "attention"),
        spec.resolve("fuse.fusion", "concat:dropout=0"),
        axes=("technical",),
    )
    monkeypatch.setattr("vqa_twostage.fuse.learning.model.DROPOUT", 0.0)
    rows = toy_data.manifest.rows.assign(mos_technical=labels(toy_data) ** 2)
    axes = (Axis("technical", (0.0, 30.0)),)
    data = replace(toy_data, manifest=replace(toy_data.manifest, rows=rows, axes=axes))
    scores, prepared = [], PreparedFeatures(data, np.arange(40))
    for members in (StackedMembers, LoopedMembers):
        monkeypatch.setattr(
            Ensemble, "_training", lambda self, models, loss, way=members: way(models)
        )
        ensemble_under_test = Ensemble(prepared, np.arange(40), head)
        ensemble_under_test.train(0, 2, parse_loss("l1"), epochs=6, validate_on=np.arange(40, 60))
        output = ensemble_under_test.output()
        assert output.axes.shape == (60, 1)
        scores.append(np.column_stack([output.scores.numpy(), output.axes.numpy()]))
    np.testing.assert_allclose(scores[0], scores[1], atol=2e-3)
    assert not caplog.records


def test_validation_begins_after_the_warm_up_and_ends_with_the_last_epoch() -> None:
    assert ensemble.validation_epochs(22) == {8, 12, 16, 20, 22}
    assert ensemble.validation_epochs(1) == {1}


@pytest.mark.parametrize("fusion", ["concat", "dynamic"])
def test_a_head_of_means_is_trained_on_one_draw_of_each_video_at_random(
    fusion: str, toy_data: Dataset
) -> None:
    data, rows = with_draws(toy_data, 3), np.arange(40)
    trained = Ensemble(PreparedFeatures(data, rows), rows, Head.of(replace(QUICK, fusion=fusion)))
    stored = trained.tracks.spatial.arrays["last/mean"][:40]
    seen = set()
    for _ in range(4):
        (batch,) = trained._batches(1)
        drawn = batch.arrays.spatial["last/mean"]
        assert drawn.shape[1] == 1 and batch.masks.spatial.shape == (40, 1)
        places = (stored == drawn).all(dim=2).int().argmax(dim=1)
        assert torch.equal(stored[torch.arange(40), places][:, None], drawn)
        assert set(places.tolist()) == {0, 1, 2}
        seen.add(tuple(places.tolist()))
    assert len(seen) == 4  # another choice in each epoch


def test_other_heads_read_every_draw_as_a_frame(toy_data: Dataset) -> None:
    data, rows = with_draws(toy_data, 3), np.arange(40)
    options = replace(QUICK, temporal_encoder="attention")
    trained = Ensemble(PreparedFeatures(data, rows), rows, Head.of(options))
    (batch,) = trained._batches(1)
    assert batch.masks.spatial.shape == (40, data.features.spatial[0].mask.shape[1])


@pytest.mark.long
@pytest.mark.parametrize("encoder", ["mean", "gru"])
def test_features_of_several_draws_are_learnt_and_repeat_to_the_bit(
    encoder: str, toy_data: Dataset
) -> None:
    data = with_draws(toy_data, 2)
    split, options = first_split(data), replace(QUICK, temporal_encoder=encoder)
    first, again = (fit(data, split, options) for _ in range(2))
    assert np.array_equal(first.predicted, again.predicted)
    assert metrics.srcc(first.predicted[split.test], labels(data)[split.test]) > 0.7
    assert first.weights.spatial.shape == data.features.spatial[0].mask.shape
