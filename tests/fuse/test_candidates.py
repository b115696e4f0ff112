"""What a baseline says of itself, and what holds where it says nothing."""

from __future__ import annotations

import pytest
from sklearn.linear_model import Ridge

from vqa_twostage.fuse.candidates import PREPARATIONS, Candidates
from vqa_twostage.fuse.learning.baseline import PREPARE


def test_plain_function_is_a_baseline_with_robust_columns_for_any_number_of_videos() -> None:
    candidates = Candidates.of(lambda columns: iter([Ridge(columns)]))
    assert (candidates.preparation, candidates.most_videos) == ("robust", None)
    assert [regressor.alpha for regressor in candidates(7)] == [7]


def test_candidates_are_kept_as_they_are() -> None:
    candidates = Candidates(lambda columns: [Ridge()], "min_max", 9)
    assert Candidates.of(candidates) is candidates


def test_unknown_preparation_is_refused_with_the_choices() -> None:
    with pytest.raises(TypeError, match="one of robust, min_max, as_is, not 'ranks'"):
        Candidates(lambda columns: [Ridge()], "ranks")


def test_every_preparation_can_be_made() -> None:
    assert PREPARE.keys() == set(PREPARATIONS)
