"""Lists and counts in words."""

import pytest

from vqa_twostage.pipeline.wording import between, first_of


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], ""),
        (["a"], "a"),
        (["a", "b"], "a, b"),
        (["a", "b", "c"], "a, b and 1 more"),
        (list("abcdefgh"), "a, b and 6 more"),
    ],
)
def test_the_first_names_and_the_number_of_the_others_are_said(names: list[str], said: str) -> None:
    assert first_of(names, 2) == said


@pytest.mark.parametrize(("least", "most", "said"), [(8, 8, "8"), (9, 17, "9 to 17"), (0, 0, "0")])
def test_a_range_of_one_number_is_that_number(least: int, most: int, said: str) -> None:
    assert between(least, most) == said
