"""Toy datasets of one cache whose videos are all different, for tests of joint training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
from toy_cache import manifest_of, write_features

from vqa_twostage.pipeline.cache.same_dataset import save_manifest
from vqa_twostage.pipeline.datasets.manifest import Manifest

CONTENTS, VERSIONS = 60, 5


def part(name: str, first: int, last: int) -> Manifest:
    """Some of many contents, as a dataset of its own."""
    whole = manifest_of(name, CONTENTS, VERSIONS)
    rows = whole.rows.iloc[first * VERSIONS : last * VERSIONS].reset_index(drop=True)
    return replace(whole, rows=rows)


def add_dataset(
    cache: Path, manifest: Manifest, labels: Callable[[pd.Series], pd.Series] = lambda mos: mos
) -> Manifest:
    """Its features, and ``labels`` that are made of those which the features tell."""
    rows = manifest.rows.assign(mos=labels(manifest.rows["mos"]))
    saved = replace(manifest, rows=rows)
    save_manifest(cache, saved)
    for kind in ("spatial", "temporal"):
        write_features(cache, manifest, kind)
    return saved
