"""One head or baseline on one split, for tests of what a fit gives."""

from __future__ import annotations

from vqa_twostage.fuse.data import Dataset
from vqa_twostage.fuse.learning.fit import Fitted
from vqa_twostage.fuse.learning.fit_groups import Fit, fit_one
from vqa_twostage.fuse.learning.prepared import PreparedFeatures
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.splits import Split


def fit(data: Dataset, split: Split, options: TrainOptions) -> Fitted:
    return fit_one(PreparedFeatures(data, split.train), Fit(split, options))
