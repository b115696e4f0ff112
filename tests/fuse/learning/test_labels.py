"""Labels of training videos get mean 0 and deviation 1, and scores come back to their scale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_twostage.fuse.learning.labels import StandardLabels


@settings(deadline=None)
@given(
    st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20),
    st.integers(1, 20),
)
def test_standardised_labels_come_back_to_their_scale(values: list[float], count: int) -> None:
    labels = np.array(values)
    standard = StandardLabels.of(labels, np.arange(min(count, len(labels))))
    spread = max(1.0, float(np.abs(labels).max()))
    assert standard.on_scale(standard.target) == pytest.approx(labels, abs=1e-5 * spread)


def test_only_the_chosen_videos_standardise() -> None:
    labels = np.array([1.0, 3.0, 100.0])
    standard = StandardLabels.of(labels, np.array([0, 1]))
    assert standard[:2] == (2.0, 1.0)
    assert standard.target.tolist() == [-1.0, 1.0, 98.0]
