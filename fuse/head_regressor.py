"""`HeadRegressor`: the head of ``vqa-fuse train`` as a regressor of scikit-learn, on arrays.

Training on a cache is `fuse.train`; both fit by `fuse.learning.fit`.

Dimensions: n videos, T frames of a video, d columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from jaxtyping import Float64
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted, check_X_y, validate_data

from vqa_twostage.fuse.array_dataset import (
    ArrayError,
    as_mask,
    contents_of,
    dataset_of,
    frames_of,
    held_out,
    places_of,
    say_streams,
    sides_of,
    split_of,
)
from vqa_twostage.fuse.learning.fit import fit_head
from vqa_twostage.fuse.learning.prepared import PreparedFeatures
from vqa_twostage.fuse.learning.scorer import scorer_of
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.pipeline.errors import require

# fewer cannot be divided into some that are fitted and some that validate
LEAST_VIDEOS = 4
LARGEST_SEED = 2**31
# the parameters that training has too
OPTIONS = (
    *("fusion", "pooling", "temporal_pooling", "temporal_encoder", "loss", "average_with"),
    *("epochs", "members"),
)


@dataclass(eq=False, repr=False, kw_only=True)
class HeadRegressor(RegressorMixin, BaseEstimator):
    """The head that ``vqa-fuse train`` fits on a split, as a regressor of scikit-learn.

    It is networks and regressors in closed form, whose scores are averaged. A part of the videos
    that `fit` gets validates, and chooses the settings of the regressors; then all of them are
    fitted. Columns are prepared inside (squashed, standardised, rotated): no scaler is needed.

    ``X`` may be features of videos, ``[n, d]``, as an array or a table; or of frames, ``[n, T,
    d]``, or a list of n arrays ``[T, d]`` where each video may have another T. Parameters are those
    of `TrainOptions`, and ``columns``, ``validation_fraction`` and ``random_state``.

    Attributes:
        n_features_in_: d.
        feature_names_in_: The names of the columns, where ``X`` was a table.
        validation_: Which of the n videos validated, ``[n]``, true or false.
        scorer_: The fitted head, a `fuse.learning.scorer.Scorer`.
    """

    fusion: str = TrainOptions.fusion
    """Spec of how spatial and temporal features meet."""
    pooling: str = TrainOptions.pooling
    """Spec: arrays to one token a level."""
    temporal_pooling: str | None = TrainOptions.temporal_pooling
    """The same of temporal columns; None is that of spatial ones."""
    temporal_encoder: str = TrainOptions.temporal_encoder
    """Spec: tokens of frames to one vector."""
    loss: str = TrainOptions.loss
    """Losses joined by ``+``."""
    average_with: str = TrainOptions.average_with
    """Specs of regressors in closed form, joined by commas; ``none`` is the networks alone."""
    epochs: int | None = TrainOptions.epochs
    """None is what the recipe has for so many videos."""
    members: int = TrainOptions.members
    """Networks whose scores are averaged."""
    columns: Sequence[str] | None = None
    """What each of the d columns is: ``spatial`` or ``temporal``, with or without a level and a
    statistic, as in ``spatial/last/mean[0]``: a name of `DatasetFeatures.columns`. None is the
    names of a table, if all are such names; else one level that both streams read, as of a dataset
    without temporal features."""
    validation_fraction: float = 0.25
    """The share of the contents that validate."""
    random_state: int | np.random.RandomState | None = TrainOptions.seed
    """Seeds the networks, and the choice of contents that validate: a number gives the same
    predictions in every call, None others in each."""

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def fit(self, X: Any, y: Any, groups: Any = None, validation: Any = None) -> HeadRegressor:
        """Fits the head.

        Args:
            X: The features of n videos, all of them finite.
            y: Their MOS, ``[n]``, on any scale.
            groups: What each video shows, ``[n]``: the videos of one content validate together, or
                not at all. None: each shows something else.
            validation: Which videos validate, ``[n]``, true or false; None: contents are chosen at
                random.

        Returns:
            Itself.

        Raises:
            ValueError: The arrays do not fit together, a value is not finite, or there are fewer
                than four videos.
            UsageError: A spec names no plug-in, or a parameter is out of range.
        """
        options, seed = self._options(), self._seed()
        frames = frames_of(X)
        rows = validate_data(self, frames.rows, dtype=np.float32)
        _, y = check_X_y(frames.lengths[:, None], y, y_numeric=True, estimator=self)
        if (count := len(y)) < LEAST_VIDEOS:
            counted = f"{count} sample{'s' if count > 1 else ''}"
            raise ArrayError(
                f"HeadRegressor got {counted}, too few to fit on some and validate on others; give "
                f"it {LEAST_VIDEOS} videos or more"
            )
        contents = contents_of(groups, count)
        if validation is None:
            self.validation_ = held_out(contents, self.validation_fraction, seed)
        else:
            self.validation_ = as_mask(validation, count)
        self._places = places_of(self._column_names(), rows.shape[1])
        data = dataset_of(
            sides_of(rows, frames.lengths, self._places), y.astype(np.float64), contents
        )
        split = split_of(self.validation_, seed)
        fitted = fit_head(PreparedFeatures(data, split.train), split, options)
        self.scorer_ = scorer_of(
            options,
            fitted.ensemble,
            dict(zip(fitted.others.settings, fitted.others.regressors, strict=True)),
        )
        return self

    def predict(self, X: Any) -> Float64[np.ndarray, " n"]:
        """Predicted MOS, on the scale of the ``y`` that `fit` got.

        Args:
            X: The features of n videos, in any of the forms that `fit` takes.

        Returns:
            One for each video.

        Raises:
            ValueError: There are other columns than in `fit`, or a value is not finite.
            NotFittedError: `fit` was not called; it is of ``sklearn.exceptions``.
        """
        check_is_fitted(self)
        frames = frames_of(X)
        rows = validate_data(self, frames.rows, dtype=np.float32, reset=False)
        return self.scorer_.scores(sides_of(rows, frames.lengths, self._places))

    def _options(self) -> TrainOptions:
        """UsageError where a parameter is of the wrong type or out of range."""
        share = self.validation_fraction
        require(
            isinstance(share, Real) and 0 < share < 1,
            f"validation_fraction must be above 0 and below 1, not {share!r}",
        )
        values = {name: getattr(self, name) for name in OPTIONS}
        # a grid of NumPy's numbers is one of whole numbers
        values |= {
            name: int(value) for name, value in values.items() if isinstance(value, np.integer)
        }
        return TrainOptions.from_mapping(values, "HeadRegressor")

    def _seed(self) -> int:
        if isinstance(self.random_state, Integral) and self.random_state >= 0:
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(LARGEST_SEED))

    def _column_names(self) -> Sequence[str] | None:
        """Of the columns of X, where they say of which stream each is."""
        if self.columns is not None:
            return self.columns
        names = list(getattr(self, "feature_names_in_", ()))
        return names if names and say_streams(names) else None
