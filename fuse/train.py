"""The one recipe, straight down: for every split, fit on train, choose the epoch on validation, predict the test.

A split's whole training part is one batch: the labels of small datasets are few, and the PLCC loss wants them together.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from fuse import metrics
from fuse.data import Dataset, Features, standardised
from fuse.evaluate import evaluate_run, save_predictions
from fuse.losses import Loss, parse_loss
from fuse.model import Head, Levels
from fuse.options import TrainOptions
from fuse.plots import scatter
from fuse.protocols import Split, splits
from pipeline import records
from pipeline.errors import UsageError

Attention = tuple[Float[Tensor, "N T"], Float[Tensor, "N U"]]  # weights of the frames of the two tracks

VERSION = 1  # of this recipe: raised when the same options give other figures
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.05
# the part of training in which the learning rate still rises: no epoch of it is chosen, however lucky its validation
WARM_UP = 0.3
# after it, validation is looked at every so many epochs
VALIDATE_EVERY = 2
RECIPE = {
    "version": VERSION,
    "learning_rate": LEARNING_RATE,
    "weight_decay": WEIGHT_DECAY,
    "warm_up": WARM_UP,
    "validate_every": VALIDATE_EVERY,
}


def train_run(
    data: Dataset,
    options: TrainOptions,
    run: Path | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Trains and tests on every split of the protocol, and writes a run: predictions, record and scatter plot.

    Where the temporal encoder weighs frames, also what it weighed: attention.csv. ``run`` is the folder; by default
    ``runs/<dataset>-<fusion>-<digest of all that decides the figures>``. Returns the document of ``vqa-fuse train
    --json``; UsageError on wrong use.
    """
    start = time.perf_counter()
    if run is not None and run.exists() and not run.is_dir():
        raise UsageError(f"{run} is a file, and a run is a folder; give another --run")
    head, loss = Head.of(options), parse_loss(options.loss)
    protocol, divided = splits(options.protocol, data.manifest.rows, options.seed)
    predictions, epochs = [], []
    attention: list[Attention] = []
    for number, split in enumerate(divided):
        on_progress(number, len(divided))
        predicted, epoch = train_split(data, split, head, loss, options.epochs, attention)
        predictions.append(_table(data, split, predicted))
        epochs.append(epoch)
    on_progress(len(divided), len(divided))
    specs = {
        "fusion": str(head.fusion.short_spec),
        "pooling": str(head.pooling.short_spec),
        "temporal_encoder": str(head.temporal_encoder.short_spec),
        "loss": options.loss,
        "protocol": protocol,
    }
    plugins = (head.fusion, head.pooling, head.temporal_encoder)
    identity = {
        "full_specs": [str(plugin.full_spec) for plugin in plugins],
        "plugin_versions": [plugin.version for plugin in plugins],
        "recipe": {**RECIPE, "epochs": options.epochs},
        "loss": options.loss,
        "protocol": protocol,
        "seed": options.seed,
        "manifest": data.manifest.digest,
        "tracks": {"spatial": data.spatial.identity, "temporal": data.temporal.identity},
    }
    name = f"{data.manifest.name}-{head.fusion.short_spec.filename}"
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:10]
    run = run or Path("runs") / f"{name}-{digest}"
    record = {
        "dataset": data.manifest.name,
        "label": data.manifest.label,
        "scale": list(data.manifest.scale),
        "specs": specs,
        "options": asdict(options),
        "identity": identity,
        "tracks": [str(data.spatial.path), str(data.temporal.path)],
        "missing": data.missing,
        "split_digests": [split.digest(data.manifest.rows["id"]) for split in divided],
        "chosen_epochs": epochs,
        "versions": records.versions(),
        "seconds": round(time.perf_counter() - start, 3),
    }
    table = pd.concat(predictions, ignore_index=True)
    save_predictions(run, table)
    (run / "attention.csv").unlink(missing_ok=True)  # another run's, where this one replaces it
    if attention:
        records.write_text(run / "attention.csv", attention_table(data, divided, attention).to_csv(index=False))
    records.write_json(run / "run.json", record)
    document = evaluate_run(run)
    scatter(table, document, run / "scatter.png")
    return document


def train_split(
    data: Dataset, split: Split, head: Head, loss: Loss, epochs: int, attention: list[Attention] | None = None
) -> tuple[Float[np.ndarray, " N"], int]:
    """Predictions for all N videos, on the scale of the labels, by the model of the chosen epoch; and that epoch.

    To ``attention`` is added how that model weighs the frames of all videos, if it does.
    """
    spatial, temporal = (_levels(features, split) for features in (data.spatial, data.temporal))
    masks = data.spatial.mask, data.temporal.mask
    std, mean = torch.std_mean(data.mos[split.train], correction=0)
    target = (data.mos[split.train] - mean) / std.clamp(min=1e-6)
    group = torch.from_numpy(pd.factorize(data.manifest.rows["group"].iloc[split.train])[0])
    mos_val = data.mos[split.val].double().numpy()

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(split.seed)
        model = head.build(
            *({level: array.shape[-1] for level, array in track.items()} for track in (spatial, temporal))
        )
        optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=epochs, pct_start=WARM_UP)
        rows = {
            part: ([_rows(track, getattr(split, part)) for track in (spatial, temporal)]) for part in ("train", "val")
        }
        best_score, best_epoch, best = -math.inf, 0, model.state_dict()
        for epoch in range(1, epochs + 1):
            model.train()
            value = loss(model(*rows["train"], *(mask[split.train] for mask in masks)), target, group)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            schedule.step()
            if epoch < epochs and (epoch < WARM_UP * epochs or epoch % VALIDATE_EVERY):
                continue
            model.eval()
            with torch.inference_mode():
                score = metrics.srcc(
                    model(*rows["val"], *(mask[split.val] for mask in masks)).double().numpy(), mos_val
                )
            # an undefined SRCC (constant scores) never wins, unless nothing else comes
            if best_epoch == 0 or score > best_score:
                best_score, best_epoch = score if math.isfinite(score) else -math.inf, epoch
                best = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(best)
    with torch.inference_mode():
        predicted = model(spatial, temporal, *masks) * std + mean
        weights = None if attention is None else model.attention(spatial, temporal, *masks)
    if attention is not None and weights is not None:
        attention.append(weights)
    return predicted.double().numpy(), best_epoch


def _rows(track: dict[str, Float[Tensor, "N T _"]], rows: Int[np.ndarray, " B"]) -> dict[str, Float[Tensor, "B T _"]]:
    return {level: array[rows] for level, array in track.items()}


def _levels(features: Features, split: Split) -> Levels:
    arrays = standardised(features, split.train)
    return {level: torch.cat([arrays[name] for name in names], dim=-1) for level, names in features.levels().items()}


def _table(data: Dataset, split: Split, predicted: Float[np.ndarray, " N"]) -> pd.DataFrame:
    rows = data.manifest.rows
    part = np.empty(len(rows), object)
    for name, members in (("train", split.train), ("val", split.val), ("test", split.test)):
        part[members] = name
    columns = {"split": split.seed, "part": part, "id": rows["id"], "group": rows["group"]}
    return pd.DataFrame({**columns, "mos": rows["mos"], "predicted": predicted})


def attention_table(data: Dataset, divided: list[Split], found: list[Attention]) -> pd.DataFrame:
    """A row for each frame of the spatial track: ``id, timestamp, spatial, temporal, importance`` (the mean of both).

    ``spatial`` and ``temporal`` are 1 in all for a video: the mean over those splits in which it was in the test part,
    or over all where it was in none. A frame of a temporal track that was sampled at other times counts for the nearest
    row.
    """
    share = np.zeros((len(divided), len(data.manifest.rows)))
    for number, split in enumerate(divided):
        share[number, split.test] = 1
    share[:, ~share.any(axis=0)] = 1
    share /= share.sum(axis=0)
    streams = [
        np.einsum("snt,sn->nt", torch.stack(weights).double().numpy(), share) for weights in zip(*found, strict=True)
    ]
    tables = []
    for row in range(len(data.manifest.rows)):
        (when, spatial), (other, temporal) = (
            (features.timestamp[row, mask].numpy(), stream[row, mask.numpy()])
            for features, stream in zip((data.spatial, data.temporal), streams, strict=True)
            for mask in [features.mask[row]]
        )
        if not np.array_equal(when, other):
            temporal = np.bincount(abs(when[:, None] - other).argmin(axis=0), temporal, len(when))
        # 1 in all to the last digits: the models' own sums are of float32
        tables.append(np.stack([when, spatial / spatial.sum(), temporal / temporal.sum()]))
    when, spatial, temporal = np.hstack(tables)
    ids = np.repeat(data.manifest.rows["id"].to_numpy(), [table.shape[1] for table in tables])
    columns = {"timestamp": when, "spatial": spatial, "temporal": temporal, "importance": (spatial + temporal) / 2}
    return pd.DataFrame({"id": ids, **columns})
