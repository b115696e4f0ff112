"""Long work that is called from a notebook shows a bar, and elsewhere nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from vqa_twostage.pipeline import notebook
from vqa_twostage.pipeline.notebook import Bar, bar_in_notebook

OnProgress = Callable[[int, int], None]


class Page:
    """What the kernel of a notebook has: `display`, and places that can be drawn again."""

    def __init__(self) -> None:
        self.drawn: list[Bar] = []

    def display(self, bar: Bar, display_id: bool) -> Page:
        assert display_id and not self.drawn
        self.drawn.append(bar)
        return self

    def update(self, bar: Bar) -> None:
        self.drawn.append(bar)


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    shown = Page()
    monkeypatch.setattr(notebook, "display_of_notebook", lambda: shown.display)
    monkeypatch.setattr(notebook, "EVERY_S", 0.0)
    return shown


@bar_in_notebook("count")
def count(up_to: int, on_progress: OnProgress = lambda done, total: None, stop: int = -1) -> int:
    """Counts."""
    for number in range(up_to + 1):
        if number == stop:
            raise ValueError(f"{number}")
        on_progress(number, up_to)
    return up_to


def test_bar_is_drawn_once_and_then_replaced(page: Page) -> None:
    assert count(3) == 3
    assert [(bar.done, bar.total) for bar in page.drawn] == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_what_the_caller_gives_wins(page: Page) -> None:
    seen: list[int] = []
    count(2, on_progress=lambda done, total: seen.append(done))
    count(2, lambda done, total: seen.append(done))
    assert seen == [0, 1, 2] * 2 and not page.drawn


def test_nothing_is_drawn_where_there_is_nothing_to_do(page: Page) -> None:
    assert count(0) == 0
    assert not page.drawn


def test_bar_says_that_an_exception_stopped_it(page: Page) -> None:
    with pytest.raises(ValueError, match="2"):
        count(3, stop=2)
    assert page.drawn[-1].stopped and "1 of 3" in repr(page.drawn[-1])
    assert repr(page.drawn[-1]).endswith("stopped")


def test_wrong_arguments_are_told_as_of_any_function(page: Page) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'upto'"):
        count(upto=3)  # type: ignore[call-arg]


def test_updates_are_not_more_often_than_a_page_needs(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notebook, "EVERY_S", 1e9)
    count(1000)
    assert [bar.done for bar in page.drawn] == [0, 1000]


def test_outside_of_a_notebook_nothing_is_shown(capfd: pytest.CaptureFixture[str]) -> None:
    assert notebook.display_of_notebook() is None
    assert count(3) == 3
    assert capfd.readouterr() == ("", "")


def test_function_stays_what_it_is_for_those_who_look() -> None:
    assert count.__name__ == "count" and count.__doc__ == "Counts."


def test_bar_is_escaped_and_tells_the_time_that_is_left() -> None:
    bar = Bar("train <b>", 30, 120, 100.0)
    assert repr(bar) == "train <b>: 30 of 120, 1 min 40 s, 5 min 0 s left"
    html = bar._repr_html_()
    assert "train &lt;b&gt;" in html and "<b>" not in html
    assert 'value="30" max="120"' in html
    assert repr(Bar("x", 0, 5, 7500.0)) == "x: 0 of 5, 2 h 5 min"
