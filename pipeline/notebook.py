"""A progress bar where long work is called from a notebook, as commands show one on a terminal.

It is HTML that the kernel replaces, so it needs no widgets, and works in whatever shows notebooks.
"""

from __future__ import annotations

import functools
import inspect
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from html import escape
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

ON_PROGRESS = "on_progress"
# two updates are at least so far apart: each is a message to the page
EVERY_S = 0.2


@dataclass(frozen=True, repr=False)
class Bar:
    """How far something is; ``seconds`` is how long it has taken."""

    label: str
    done: int
    total: int
    seconds: float
    stopped: bool = False
    """Whether it ended with an exception."""

    def __repr__(self) -> str:
        return f"{self.label}: {self._state()}"

    def _repr_html_(self) -> str:
        label = escape(self.label)
        return (
            '<div style="display: flex; gap: 0.75em; align-items: center; max-width: 60em">'
            f'<span>{label}</span><progress aria-label="{label}" style="flex: 0 1 20em" '
            f'value="{self.done}" max="{max(self.total, 1)}"></progress>'
            f"<span>{self._state()}</span></div>"
        )

    def _state(self) -> str:
        words = [f"{self.done} of {self.total}", _duration(self.seconds)]
        if self.stopped:
            words.append("stopped")
        elif 0 < self.done < self.total:
            words.append(f"{_duration(self.seconds * (self.total / self.done - 1))} left")
        return ", ".join(words)


def bar_in_notebook(label: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """For a function with the argument ``on_progress``, which is called with how much is done, and
    of how much: where a notebook's caller does not give it, it draws a bar. Elsewhere, and where
    there is nothing to do, nothing is shown.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def with_bar(*args: P.args, **kwargs: P.kwargs) -> R:
            display = display_of_notebook()
            given = signature.bind_partial(*args, **kwargs).arguments
            if display is None or ON_PROGRESS in given:
                return function(*args, **kwargs)
            draw, stop = _drawing(label, display)
            kwargs[ON_PROGRESS] = draw
            try:
                return function(*args, **kwargs)
            except BaseException:
                stop()
                raise

        return with_bar

    return decorate


def display_of_notebook() -> Callable[..., Any] | None:
    """IPython's ``display`` where this process is the kernel of a notebook; else None."""
    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython
    from IPython.display import display

    return display if hasattr(get_ipython(), "kernel") else None


def _drawing(
    label: str, display: Callable[..., Any]
) -> tuple[Callable[[int, int], None], Callable[[], None]]:
    """To call with what is done and the total, and to call where it stopped."""
    began = last = time.monotonic()
    handle: Any = None
    bar: Bar | None = None

    def draw(done: int, total: int) -> None:
        nonlocal handle, bar, last
        now = time.monotonic()
        bar = Bar(label, done, total, now - began)
        if handle is None:
            if done < total:
                handle = display(bar, display_id=True)
                last = now
        elif done >= total or now - last >= EVERY_S:
            handle.update(bar)
            last = now

    def stop() -> None:
        if handle is not None and bar is not None:
            handle.update(replace(bar, stopped=True))

    return draw, stop


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
