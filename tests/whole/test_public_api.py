"""``import vqa_twostage as vqa`` offers the documented names, loads lazily, works in notebooks."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

import vqa_twostage as vqa

HEAVY = ("torch", "numpy", "pandas", "h5py", "matplotlib", "av", "click")


def test_package_offers_the_documented_names_and_no_others() -> None:
    functions = {
        "extract_dataset",
        "features",
        "load_manifest",
        "train",
        "evaluate",
        "compare",
        "ablate",
        "learning_curve",
        "reproduce_run",
        "score",
        "load",
        "watch",
    }
    types = {
        *{"ExtractOptions", "Extraction", "TrainOptions", "Evaluation", "Comparison", "Score"},
        *{"DatasetFeatures", "HeadRegressor", "Manifest", "UsageError"},
        *{"AblationResult", "LearningCurve", "Reproduction"},
    }
    assert set(dir(vqa)) == functions | types | {"__version__"}
    assert all(callable(getattr(vqa, name)) for name in functions)
    with pytest.raises(AttributeError, match="has no attribute 'scor'"):
        _ = vqa.scor  # type: ignore[attr-defined]


@pytest.mark.long
def test_ablation_curve_and_reproduction_take_the_folder_of_features(
    toy_cache: Path, tmp_path: Path
) -> None:
    shared = {"protocol": "random:n=2", "epochs": 2, "members": 1}
    variants = [
        vqa.TrainOptions("concat", **shared),
        vqa.TrainOptions(baseline="ridge", protocol="random:n=2"),
    ]
    table = vqa.ablate(toy_cache, variants, tmp_path / "ablation", dataset="toy")
    assert [row.name for row in table.comparison.rows] != [] and len(table.comparison.rows) == 2
    curve = vqa.learning_curve(str(toy_cache), variants[0], [50, 100], tmp_path / "curve")
    assert [point.labels for point in curve.points] == [50, 100]
    (whole,) = (row.run for row in table.comparison.rows if row.fusion == "concat")
    assert vqa.reproduce_run(whole).equal
    with pytest.raises(vqa.UsageError, match="nowhere"):
        vqa.ablate(tmp_path / "nowhere", variants, tmp_path / "other")


def test_importing_the_package_loads_no_heavy_dependency() -> None:
    code = f"import sys, vqa_twostage; print([m for m in {HEAVY} if m in sys.modules])"
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert process.stdout.strip() == "[]"


def outputs_of(cells: list[str], folder: Path) -> list[Any]:
    """The outputs of each cell of a notebook, run in a kernel."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = NotebookClient(
        notebook, timeout=480, kernel_name="python3", resources={"metadata": {"path": folder}}
    )
    client.execute()
    return [cell["outputs"] for cell in notebook["cells"]]


@pytest.mark.long
@pytest.mark.timeout(600)
def test_notebook_shows_a_bar_and_results(toy_cache: Path, tmp_path: Path) -> None:
    options = 'vqa.TrainOptions("concat", epochs=2, members=1, protocol="random:n=2")'
    cells = [
        "import vqa_twostage as vqa",
        f"trained = vqa.train({str(toy_cache)!r}, {options}, run='run')",
        "trained",
        "seen = []\n"
        f"_ = vqa.train({str(toy_cache)!r}, {options}, run='run', again=True,\n"
        "              on_progress=lambda done, total: seen.append(done))\nprint(seen)",
        f"_ = vqa.train({str(toy_cache)!r}, {options}, run='run')",
    ]
    _, (bar,), (shown,), (printed,), finished = outputs_of(cells, tmp_path)
    assert bar["output_type"] == "display_data"
    assert 'value="2" max="2"' in bar["data"]["text/html"]
    assert bar["data"]["text/plain"].startswith("train: 2 of 2")
    assert "2 splits of N = 60 videos" in shown["data"]["text/html"]
    assert printed["text"].strip() == "[0, 1, 2]" and not finished


@pytest.mark.long
@pytest.mark.timeout(600)
def test_notebook_scores_a_video_and_shows_features(
    clips: Path, toy_cache: Path, tmp_path: Path
) -> None:
    shutil.copy(clips / "testsrc2.mp4", tmp_path / "clip.mp4")
    cells = [
        "import vqa_twostage as vqa",
        'scores = vqa.score("clip.mp4")\nprint(scores[0].score)\nscores[0]',
        "print(type(vqa.load().training).__name__)",
        f"features = vqa.features({str(toy_cache)!r})\nx, y = features.numpy(), features.mos\n"
        "print(x.shape, y.shape)",
    ]
    shown_cells = outputs_of(cells, tmp_path)
    outputs = [
        "".join(output["text"] for output in cell if output.get("name") == "stdout")
        for cell in shown_cells
    ]
    assert 1 < float(outputs[1].split()[0]) < 5 and outputs[2].strip() == "Training"
    assert outputs[3].strip() == "(60, 192) (60,)"
    bar, *_, shown = (output["data"] for output in shown_cells[1] if "data" in output)
    assert 'value="1" max="1"' in bar["text/html"]
    assert "on a scale of" in shown["text/html"] and "<svg" in shown["text/html"]
