"""Tables and sentences fit the terminal, and no figure is lost or cut."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from written_runs import predictions_of, write_run

from vqa_twostage.fuse.compare import compare
from vqa_twostage.fuse.reporting import terminal_width
from vqa_twostage.fuse.reporting.formatting import curve_cells, metric_cells, paired_cells
from vqa_twostage.fuse.reporting.terminal import print_comparison, print_curve
from vqa_twostage.fuse.reporting.terminal_width import print_sentence, print_table
from vqa_twostage.fuse.results import Comparison, CurvePoint, LearningCurve

IN_TURN = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    folder = tmp_path_factory.mktemp("runs")
    runs = [
        write_run(folder / name, predictions_of([30] * 4, seed), name)
        for seed, name in enumerate(["concat", "dynamic:experts=2", "ridge", "a head " * 9])
    ]
    return compare(runs)


def lines_of(
    print_it: Callable[[], None], width: int | None, capsys: pytest.CaptureFixture[str]
) -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COLUMNS", raising=False)
        if width is not None:
            patch.setenv("COLUMNS", str(width))
        print_it()
    return capsys.readouterr().out.splitlines()


@pytest.mark.long
@IN_TURN
@given(width=st.integers(60, 200))
def test_comparison_fits_the_window_and_shows_every_figure_whole(
    width: int, comparison: Comparison, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = lines_of(lambda: print_comparison(comparison), width, capsys)
    # paths are not broken, since they are copied
    assert all(len(line) <= width for line in lines if "/" not in line)
    figures = [
        cell
        for row in comparison.rows
        for cell in (*metric_cells(row.summary), *paired_cells(row.paired))
    ]
    for figure in set(figures) - {""}:
        assert sum(line.count(figure) for line in lines) >= figures.count(figure), figure


@IN_TURN
@given(width=st.integers(60, 200))
def test_learning_curve_fits_the_window_and_shows_every_figure_whole(
    width: int, comparison: Comparison, capsys: pytest.CaptureFixture[str]
) -> None:
    # of a run from random weights, and of one that is tuned
    two = [row for row in comparison.rows if row.run == comparison.reference_run]
    two += [row for row in comparison.rows if row.run != comparison.reference_run][:1]
    shared = replace(comparison, rows=two)
    points = [CurvePoint(labels, (30, 300), shared) for labels in (5, 100)]
    curve = LearningCurve(["konvid"], points, Path("folder"))
    lines = lines_of(lambda: print_curve(curve), width, capsys)
    assert all(len(line) <= width for line in lines if "/" not in line)
    for figure in {cell for point in points for cell in curve_cells(point)}:
        assert any(figure in line for line in lines), figure


@IN_TURN
@given(
    width=st.integers(60, 200),
    name=st.integers(1, 80),
    columns=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 26)), min_size=1, max_size=12),
    subject=st.none() | st.integers(1, 12),
)
def test_any_table_fits_and_each_of_its_figures_stands_once(
    width: int,
    name: int,
    columns: list[tuple[int, int]],
    subject: int | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    titles = ["", *(" ".join(["title"] * words) for words, _ in columns)]
    row = ["n" * name, *("7" * size for _, size in columns)]
    lines = lines_of(lambda: print_table(titles, [row], subject), width, capsys)
    assert all(len(line) <= width for line in lines)
    words = [word for line in lines for word in line.split()]
    for _, size in columns:
        assert words.count("7" * size) == [size for _, size in columns].count(size)
    assert "".join(words).count("n") % name == 0 and "…" not in "".join(words)


def test_second_table_holds_what_is_paired_where_that_takes_no_third(
    comparison: Comparison, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "\n".join(lines_of(lambda: print_comparison(comparison), 130, capsys))
    first, second = text.split("mean difference")
    assert "PLCC raw" in first and "median" in second and "Wilcoxon" in second


def test_comparison_in_a_file_or_a_pipe_is_one_table(
    comparison: Comparison, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = lines_of(lambda: print_comparison(comparison), None, capsys)
    assert sum("SRCC" in line and "Wilcoxon p" in line for line in lines) == 1


def test_width_is_that_of_the_terminal_and_of_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert terminal_width.output_width() is None
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert terminal_width.output_width() == 80  # of a terminal that does not say
    monkeypatch.setenv("COLUMNS", "0")
    assert terminal_width.output_width() == 80
    monkeypatch.setenv("COLUMNS", "61")
    assert terminal_width.output_width() == 61


def test_names_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["", "SRCC"], [["[bold]run[/bold] :smile:", "0.9"]])
    assert "[bold]run[/bold] :smile:" in capsys.readouterr().out


def test_sentence_is_wrapped_between_words_and_keeps_its_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = "\none sentence of several words, and then\nanother-one"
    lines = lines_of(lambda: print_sentence(said), 20, capsys)
    assert max(map(len, lines)) <= 20
    assert lines[0] == "" and " ".join(map(str.strip, lines[1:])) == " ".join(said.split())
    assert lines_of(lambda: print_sentence(said), None, capsys) == said.split("\n")
