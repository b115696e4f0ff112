"""The contracts of baselines and protocols, tried on a small table.

Dimensions: N rows (videos), C columns.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
from jaxtyping import Float

from vqa_twostage.fuse.splits import Split
from vqa_twostage.fuse.streams import Regressor
from vqa_twostage.pipeline.spec import Plugin
from vqa_twostage.pipeline.testing import broken, check_plugin


def check_baseline(text: str, columns: int = 6) -> None:
    """``columns``: C of the table that the regressors are fitted to."""
    plugin = check_plugin("fuse.baselines", text)
    first, second = (list(plugin.build()(columns)) for _ in range(2))
    if not first or len(first) != len(second):
        raise broken(plugin, "it must give one or more regressors, the same number each time")
    if not all(isinstance(regressor, Regressor) for regressor in first + second):
        raise broken(plugin, "a regressor must have fit(rows, labels) and predict(rows)")
    generator = np.random.default_rng(0)
    rows = generator.uniform(size=(24, columns))
    labels = rows.sum(axis=1) + generator.normal(0, 0.1, len(rows))
    for regressor, again in zip(first, second, strict=True):
        _check_regressor(plugin, regressor, again, rows, labels)


def check_protocol(text: str, rows: pd.DataFrame | None = None) -> None:
    """``rows``: a manifest's ``id``, ``group`` and ``split``, where the protocol needs others than
    60 videos of 20 contents, 15 of which are marked ``train`` and 5 ``test``.
    """
    plugin = check_plugin("fuse.protocols", text)
    if not isinstance(getattr(plugin.module, "CONTENT_DISJOINT", None), bool):
        raise broken(plugin, "CONTENT_DISJOINT must be True or False")
    if rows is None:
        groups = np.arange(60) // 3
        rows = pd.DataFrame(
            {
                "id": [f"video {7 * number % 60:02d}" for number in range(60)],
                "group": [f"content {group:02d}" for group in groups],
                "split": np.where(groups < 15, "train", "test"),
            }
        )
    before = rows.copy()
    splits, again = plugin.build()(rows), plugin.build()(rows)
    if not rows.equals(before):
        raise broken(plugin, "it changes the rows that it divides")
    if not splits:
        raise broken(plugin, "it gives no split")
    if len({split.seed for split in splits}) < len(splits):
        raise broken(plugin, "two splits have the same seed")
    for split in splits:
        _check_split(plugin, split, rows)
    digests = [[(one.seed, one.digest(rows["id"])) for one in made] for made in (splits, again)]
    if digests[0] != digests[1]:
        raise broken(plugin, "the same options and rows give other splits the second time")


def _check_regressor(
    plugin: Plugin,
    regressor: Regressor,
    again: Regressor,
    rows: Float[np.ndarray, "N C"],
    labels: Float[np.ndarray, " N"],
) -> None:
    """``again``: the same regressor, not fitted yet."""
    before = rows.copy(), labels.copy()
    predicted = regressor.fit(rows, labels).predict(rows)
    if not (np.array_equal(rows, before[0]) and np.array_equal(labels, before[1])):
        raise broken(plugin, "a regressor changes its rows or labels")
    if predicted.shape[-1:] != labels.shape or not np.isfinite(predicted).all():
        raise broken(plugin, "a regressor must predict one finite number for each row")
    if predicted.ndim > 2:
        raise broken(plugin, "it must predict [N], or [options, N] if it is a RegressorPath")
    if not np.allclose(regressor.predict(rows[:3]), predicted[..., :3]):
        raise broken(plugin, "the prediction for a row must not depend on the other rows")
    again.fit(rows[:12], labels[:12])
    if not np.allclose(again.fit(rows, labels).predict(rows), predicted):
        raise broken(
            plugin, "fitted again, a regressor must predict the same: only its last fit counts"
        )


def _check_split(plugin: Plugin, split: Split, rows: pd.DataFrame) -> None:
    name = f"split {split.seed}"
    for part in split.parts:
        if not len(part):
            raise broken(plugin, f"{name} has an empty part")
        if (np.diff(part) <= 0).any() or part[0] < 0 or part[-1] >= len(rows):
            raise broken(plugin, f"{name}: row numbers must ascend within 0..{len(rows) - 1}")
    for first, second in combinations(split.parts, 2):
        if np.intersect1d(first, second).size:
            raise broken(plugin, f"{name} has a video in two parts")
        groups = set(rows["group"].iloc[first]) & set(rows["group"].iloc[second])
        if plugin.module.CONTENT_DISJOINT and groups:
            raise broken(plugin, f"{name} has a group in two parts, and CONTENT_DISJOINT is True")
