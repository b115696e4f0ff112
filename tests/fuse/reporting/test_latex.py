"""Tables for LaTeX: every row has every cell, no name is a command, and what is bold is proved."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from commands import called
from hypothesis import given, settings
from hypothesis import strategies as st
from written_runs import predictions_of, write_run

import vqa_twostage as vqa
from vqa_twostage.fuse.reporting.latex import COLUMNS, escape, of_comparison
from vqa_twostage.fuse.results import Comparison

HOSTILE = r"50% of $x_1$ & \input{x} #~^ {a} <b>|" + "\n\ntwo"
ENGINES = {
    "pdflatex": ["-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
    "tectonic": ["paper.tex"],
}


def compared(folder: Path, **noises: float) -> Comparison:
    """Runs whose predictions are so far from the labels; the first is the reference."""
    runs = [
        write_run(folder / name, predictions_of([40] * 8, seed, noise), name)
        for seed, (name, noise) in enumerate(noises.items())
    ]
    return vqa.compare(runs)


def body(table: str) -> list[str]:
    """The rows between the rules, in which a cell ends at every plain &."""
    inside = table.split(r"\midrule", 1)[1].split(r"\bottomrule")[0]
    return [line for line in inside.strip().split("\n") if line]


def test_each_row_has_its_cells_and_the_caption_has_n_and_protocol(tmp_path: Path) -> None:
    comparison = compared(tmp_path, concat=0.5, dynamic=0.45)
    table = of_comparison(comparison)
    rows = body(table)
    assert len(rows) == 2
    for line in rows:
        assert line.endswith(r"\\") and len(re.findall(r"(?<!\\)&", line)) == COLUMNS - 1
    (caption,) = re.findall(r"\\caption\{(.*)\}\n", table)
    assert "random:n=8: 8 splits of N = 70 videos, labels: opinion" in caption
    assert "minus that of concat + alone on the same split" in caption
    median = comparison.rows[0].summary.median.srcc
    assert f"{median:.3f}" in rows[0] and r"\pm " in rows[0]
    assert "reference" in table


@pytest.mark.parametrize(
    ("noises", "winner"),
    [
        ({"a": 2.0, "b": 0.2}, "b"),
        ({"a": 0.2, "b": 2.0}, "a"),  # the reference itself
        ({"a": 0.5, "b": 0.5}, None),
        ({"a": 2.0, "b": 0.3, "c": 0.301}, None),  # far from one, not from the other
        ({"a": 0.5}, None),
    ],
)
def test_only_what_is_better_than_every_other_row_is_bold(
    noises: dict[str, float], winner: str | None, tmp_path: Path
) -> None:
    comparison = compared(tmp_path, **noises)
    assert (None if comparison.winner is None else comparison.winner.name) == winner
    assert comparison.to_json()["winner"] == (winner and str(tmp_path / winner))
    table = of_comparison(comparison)
    bold = [line for line in body(table) if r"\mathbf" in line]
    assert len(bold) == (winner is not None)
    if winner is None:
        assert "No row is better than every other one" in table
    else:
        assert bold[0].startswith(f"{winner} ") and "Bold: better than every other row" in table


def test_further_labels_have_rows_of_their_own(tmp_path: Path) -> None:
    comparison = compared(tmp_path, concat=0.5, dynamic=0.4)
    rows = [replace(row, axes={"technical": row.summary}) for row in comparison.rows]
    table = of_comparison(replace(comparison, rows=rows))
    assert r"\emph{technical}" in table and len(body(table)) == 5


@settings(deadline=None)
@given(st.text())
def test_any_text_is_escaped_to_one_line_without_commands(text: str) -> None:
    escaped = escape(text)
    assert "\n" not in escaped and escaped.isprintable()
    plain = re.sub(r"\\text[a-z]+\{\}|-\{\}(?=-)|\\[&%$#_{}]|\$\\pm\$", "", escaped)
    assert "--" not in escaped and not set(plain) & set(r"\&%$#_{}~^<>|")


@pytest.mark.parametrize("engine", ENGINES)
def test_table_compiles(engine: str, tmp_path: Path) -> None:
    if shutil.which(engine) is None:
        pytest.skip(f"{engine} is not installed")
    comparison = compared(tmp_path, concat=0.5, dynamic=0.2)
    rows = [replace(row, name=f"{row.name} {HOSTILE}") for row in comparison.rows]
    (tmp_path / "table.tex").write_text(of_comparison(replace(comparison, rows=rows)))
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\\input{table}"
        "\\end{document}\n"
    )
    done = subprocess.run(
        [engine, *ENGINES[engine]], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:]


def test_commands_write_the_table_and_refuse_a_folder_before_they_begin(tmp_path: Path) -> None:
    comparison = compared(tmp_path, concat=0.5, dynamic=0.2)
    done = called("vqa-fuse", "compare", "concat", "dynamic", "--latex", "t.tex", cwd=tmp_path)
    assert done.returncode == 0 and "LaTeX: t.tex" in done.stderr
    assert (tmp_path / "t.tex").read_text() == of_comparison(comparison).replace(
        str(tmp_path) + "/", ""
    )
    for words in (["compare", "concat", "dynamic"], ["ablate", "--dataset", "none"]):
        refused = called("vqa-fuse", *words, "--latex", ".", cwd=tmp_path)
        assert refused.returncode == 2 and "--latex . is a folder" in refused.stderr


def test_braces_and_environments_are_closed(tmp_path: Path) -> None:
    comparison = compared(tmp_path, concat=0.5, dynamic=0.2)
    rows = [replace(row, name=HOSTILE) for row in comparison.rows]
    table = of_comparison(replace(comparison, rows=rows, notes=[HOSTILE]))
    plain = re.sub(r"\\[{}]", "", table)
    depth = 0
    for character in plain:
        depth += (character == "{") - (character == "}")
        assert depth >= 0
    assert depth == 0
    assert re.findall(r"\\begin\{(.+?)\}", table) == re.findall(r"\\end\{(.+?)\}", table)[::-1]
    assert len(re.findall(r"(?<!\\)\$", table)) % 2 == 0
