"""Charts as inline SVG, which a page shows without a program: colours and sizes come from the
page's style sheet.

Coordinates lie in a box of ``WIDTH`` by ``HEIGHT`` and are rounded to a tenth.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from markupsafe import Markup, escape
from matplotlib.ticker import MaxNLocator

WIDTH, HEIGHT = 520.0, 400.0
LEFT, RIGHT, TOP, BOTTOM = 62.0, 12.0, 12.0, 56.0
INTERVAL_WIDTH = 120.0  # of the small chart in a table

Points = Sequence[tuple[float, float]]


class Axes:
    """The frame of a chart with ticks, and the positions of values in it."""

    def __init__(self, x: Iterable[float], y: Iterable[float], x_label: str, y_label: str) -> None:
        self.x_range, self.x_ticks = _range(x)
        self.y_range, self.y_ticks = _range(y)
        self.labels = x_label, y_label

    def at(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.x_range[0]) / (self.x_range[1] - self.x_range[0])
        up = (y - self.y_range[0]) / (self.y_range[1] - self.y_range[0])
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (
            HEIGHT - TOP - BOTTOM
        )

    def path(self, points: Points, css: str) -> str:
        steps = " ".join("{:.1f},{:.1f}".format(*self.at(x, y)) for x, y in points)
        return f'<polyline class="{css}" points="{steps}"/>'

    def frame(self) -> str:
        parts = []
        for value, text in zip(self.x_ticks, _tick_labels(self.x_ticks), strict=True):
            x = self.at(value, self.y_range[0])[0]
            parts.append(
                f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP:g}" '
                f'y2="{HEIGHT - BOTTOM:g}"/>'
            )
            parts.append(
                f'<text class="tick" x="{x:.1f}" y="{HEIGHT - BOTTOM + 20:g}">{text}</text>'
            )
        for value, text in zip(self.y_ticks, _tick_labels(self.y_ticks), strict=True):
            y = self.at(self.x_range[0], value)[1]
            parts.append(
                f'<line class="grid" x1="{LEFT:g}" x2="{WIDTH - RIGHT:g}" y1="{y:.1f}" '
                f'y2="{y:.1f}"/>'
            )
            parts.append(f'<text class="tick end" x="{LEFT - 8:g}" y="{y + 4.5:.1f}">{text}</text>')
        middle = TOP + (HEIGHT - TOP - BOTTOM) / 2
        x_label, y_label = map(escape, self.labels)
        parts.append(
            f'<text class="axis" x="{LEFT + (WIDTH - LEFT - RIGHT) / 2:g}" '
            f'y="{HEIGHT - 10:g}">{x_label}</text>'
        )
        parts.append(
            f'<text class="axis" transform="translate(16 {middle:g}) rotate(-90)">{y_label}</text>'
        )
        return "".join(parts)


def scatter(
    points: Points, curve: Points, with_frames: Sequence[bool], label: str, name: str
) -> Markup:
    """``points`` (prediction, label) as circles, those ``with_frames`` filled, and ``curve``."""
    axes = Axes([x for x, _ in points], [y for _, y in points], "prediction", label)
    circles = []
    for (x, y), full in zip(points, with_frames, strict=True):
        across, up = axes.at(x, y)
        circles.append(
            f'<circle cx="{across:.1f}" cy="{up:.1f}" r="4"{" class=full " if full else ""}/>'
        )
    low, high = axes.y_range
    inside = [(x, y) for x, y in curve if low <= y <= high]
    line = axes.path(inside, "curve") if len(inside) > 1 else ""
    return _svg(
        f'{axes.frame()}<g class="points">{"".join(circles)}</g>{line}', name, "scatter", "group"
    )


def learning(curves: Mapping[int, Points], median: Points, chosen: Points, name: str) -> Markup:
    """A faint line for each split with a dot at the epoch that is used, and the median of all."""
    every = [point for points in curves.values() for point in points]
    axes = Axes([x for x, _ in every], [y for _, y in every], "epoch", "SRCC on validation")
    lines = "".join(axes.path(points, "faint") for points in curves.values())
    places = (axes.at(x, y) for x, y in chosen)
    dots = "".join(f'<circle class="chosen" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>' for x, y in places)
    return _svg(f"{axes.frame()}{lines}{dots}{axes.path(median, 'curve')}", name, "learning", "img")


def interval(low: float, middle: float, high: float, extent: float, name: str) -> Markup:
    """A difference and its interval; 0 lies in the middle, ``extent`` at both ends."""
    zero = INTERVAL_WIDTH / 2
    a, b, c = (zero + value / extent * (zero - 5) for value in (low, middle, high))
    return Markup(  # numbers, and an escaped name
        f'<svg class="interval" viewBox="0 0 {INTERVAL_WIDTH:g} 16" role="img" '
        f'aria-label="{escape(name)}">'
        f'<line class="grid" x1="{zero:g}" x2="{zero:g}" y1="0" y2="16"/>'
        f'<line class="whisker" x1="{a:.1f}" x2="{c:.1f}" y1="8" y2="8"/><circle cx="{b:.1f}" '
        'cy="8" r="3.5"/></svg>'
    )


def _svg(inside: str, name: str, css: str, role: str) -> Markup:
    box = f"0 0 {WIDTH:g} {HEIGHT:g}"
    return Markup(
        f'<svg class="chart {css}" viewBox="{box}" role="{role}" '
        f'aria-label="{escape(name)}">{inside}</svg>'
    )


def _range(values: Iterable[float]) -> tuple[tuple[float, float], list[float]]:
    array = np.asarray(list(values), float)
    low, high = float(array.min()), float(array.max())
    room = (high - low) * 0.04 or max(abs(high), 1.0) * 0.05
    low, high = low - room, high + room
    return (low, high), [
        float(tick)
        for tick in MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(low, high)
        if low <= tick <= high
    ]


def _tick_labels(ticks: list[float]) -> list[str]:
    """All with the number of digits that the longest of them needs."""
    digits = max((len(f"{tick:.6g}".partition(".")[2]) for tick in ticks), default=0)
    return [f"{tick:.{digits}f}".replace("-", "−") for tick in ticks]
