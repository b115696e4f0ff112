"""A head with few labels is better with those of another dataset."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fitting import fit
from toy_cache import make_dataset, reworked

from vqa_twostage.fuse import metrics
from vqa_twostage.fuse.data import Dataset
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.splits import splits

QUICK = TrainOptions(fusion="concat", epochs=40, members=1)
NOISE = 8

pytestmark = pytest.mark.usefixtures("one_thread")


def noisy(name: str, contents: int, seed: int) -> Dataset:
    """Videos whose columns tell little of the quality one by one."""
    generator = np.random.default_rng(seed)

    def blurred(array: np.ndarray) -> np.ndarray:
        noise = generator.normal(size=(len(array), 1, array.shape[2]))
        return (array + NOISE * noise).astype(np.float32)

    return reworked(make_dataset(name, contents, 5), blurred)


@pytest.mark.long
def test_a_head_with_few_labels_is_better_with_those_of_another_dataset() -> None:
    own, other = noisy("own", 10, 0), noisy("other", 30, 1)
    gains = []
    for split in splits("random:n=4,train=0.4,val=0.2", own.manifest.rows)[1]:
        alone, joint = (fit(data, split, QUICK) for data in (own, replace(own, others=(other,))))
        scores = [
            metrics.srcc(fitted.predicted[split.test], own.mos[split.test])
            for fitted in (joint, alone)
        ]
        gains.append(scores[0] - scores[1])
        assert not alone.joint
    assert np.mean(gains) > 0.05 and min(gains) > -0.02
