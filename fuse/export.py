"""A run as a model for others: weights, what they need to be used, and a card with data, protocol,
metrics and limits.

The folder is one that the Hugging Face hub takes, and that `fuse.score.load` reads:
``model.safetensors`` holds all that scoring needs, ``config.json`` says the same for people and
other programs, ``README.md`` is the model card, and ``head.onnx``, where asked for, scores features
in runtimes without torch.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vqa_twostage import __version__
from vqa_twostage.fuse import opinions
from vqa_twostage.fuse.delivery import onnx_check
from vqa_twostage.fuse.delivery.onnx_graph import FILE as ONNX_FILE
from vqa_twostage.fuse.evaluate import evaluate
from vqa_twostage.fuse.learning import scorer_file as saved
from vqa_twostage.fuse.learning.scorer import AxisOfScorer, Scorer
from vqa_twostage.fuse.reporting.formatting import METRIC_TITLES, median_and_spread, n_videos
from vqa_twostage.fuse.results import Evaluation
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.files import read_json, write_json, write_text

CARD = Path(__file__).parent / "reporting" / "page" / "card.md"
LIBRARY = "vqa-twostage"
CARD_TITLES = {**METRIC_TITLES, "plcc_raw": "PLCC before the logistic"}
CARD_DIGITS = 4


@dataclass(frozen=True)
class OnnxFile:
    """The graph in an exported folder. ``difference``: the largest between its scores and this
    program's, on random features.
    """

    file: str
    bytes: int
    difference: float


@dataclass(frozen=True)
class ExportResult:
    """What `export_run` wrote. ``bytes``: of the weights; ``onnx``: None where no graph was asked
    for.
    """

    run: Path
    output: Path
    files: list[str]
    bytes: int
    onnx: OnnxFile | None

    def to_json(self) -> dict[str, Any]:
        """The document of ``vqa-fuse export --json``."""
        return {**asdict(self), "run": str(self.run), "output": str(self.output)}

    def to_text(self) -> str:
        """What ``vqa-fuse export`` prints for people."""
        lines = [f"{self.output}: {', '.join(self.files)} ({self.bytes / 1e6:.1f} MB of weights)"]
        if self.onnx:
            lines.append(
                f"{self.onnx.file}: {self.onnx.bytes / 1e6:.1f} MB, run by onnxruntime; random "
                f"features score as here within {self.onnx.difference:.1g}"
            )
        lines.append(f"next: vqa-fuse score VIDEO --run {self.output}")
        return "\n".join(lines)


def export_run(run: str | Path, output: str | Path, onnx: bool = False) -> ExportResult:
    """Writes the model of ``run`` to the folder ``output``.

    Args:
        run: The folder of a run that has a model.
        output: The folder to write: a new or an empty one, or an earlier export.
        onnx: Also write the model as a graph, whose scores are compared with this program's.

    Returns:
        The files that were written.

    Raises:
        UsageError: ``run`` has no model, ``output`` holds something else, or the graph cannot be
            made; nothing was written.
    """
    run, output = Path(run), Path(output)
    if onnx:
        onnx_check.require_packages()
    scorer, evaluation = saved.load(run), evaluate(run)
    if onnx:
        onnx_check.require_one_label(scorer)
    if output.exists() and output.samefile(run):
        raise UsageError(f"--output {output} is the run itself; give another folder")
    if not _is_ours(output):
        raise UsageError(f"--output {output} is there, and no exported model; give another folder")
    graph = onnx_check.make_graph(scorer) if onnx else None
    config = config_of(scorer) | ({"onnx": graph.to_json()} if graph else {})
    output.mkdir(parents=True, exist_ok=True)
    (output / ONNX_FILE).unlink(missing_ok=True)  # of an earlier export
    shutil.copyfile(run / saved.FILE, output / saved.FILE)
    write_json(output / "config.json", config)
    write_text(output / "README.md", card(config, evaluation))
    onnx_file = None
    if graph:
        (output / ONNX_FILE).write_bytes(graph.content)
        onnx_file = OnnxFile(ONNX_FILE, len(graph.content), graph.difference)
    files = sorted(path.name for path in output.iterdir())
    return ExportResult(run, output, files, (output / saved.FILE).stat().st_size, onnx_file)


def _is_ours(output: Path) -> bool:
    """Whether ``output`` may be written: not there, empty, or an export of this program."""
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return True
    config = output / "config.json"
    return config.is_file() and read_json(config).get("library") == LIBRARY


def config_of(scorer: Scorer) -> dict[str, Any]:
    """What a model is, which features it reads and what its scores mean, as plain values."""
    training = scorer.training
    return {
        "library": LIBRARY,
        "version": __version__,
        "format_version": saved.FORMAT_VERSION,
        "head": asdict(scorer.options),
        "trained_on": {
            "dataset": training.dataset,
            "title": training.title,
            "videos": training.videos,
        },
        "output": {
            "label": training.label,
            "scale": list(training.scale),
            "better": training.better,
        },
        # sampler, networks, digest of their weights and preprocessing, as in the cache
        "features": [track.to_json() for side in training.tracks for track in side],
        "calibration": _calibration(scorer),
        # of further labels, where there are some
        **({"axes": _axes(scorer)} if scorer.axes else {}),
    }


def _axes(scorer: Scorer) -> dict[str, Any]:
    return {
        name: {
            "scale": list(axis.scale),
            "better": axis.better,
            "calibration": _calibration(axis),
        }
        for name, axis in scorer.axes.items()
    }


def _calibration(label: Scorer | AxisOfScorer) -> dict[str, Any]:
    return {
        "mean": label.mean,
        "std": label.std,
        "logistic": None if label.curve is None else list(map(float, label.curve)),
    }


def card(config: dict[str, Any], evaluation: Evaluation) -> str:
    """The model card, in the Markdown of the Hugging Face hub."""
    from jinja2 import Environment, StrictUndefined

    template = Environment(undefined=StrictUndefined, keep_trailing_newline=True).from_string(
        CARD.read_text("utf-8")
    )
    distinct = {json.dumps(track, sort_keys=True): track for track in config["features"]}
    imported = dict.fromkeys(("preprocessing", "weights"), "imported")
    return template.render(
        {"onnx": None, "axes": {}, **config},
        tracks=[{**imported, **track} for track in distinct.values()],
        evaluation=evaluation,
        learnt=opinions.sentences(evaluation.opinions, evaluation.dataset),
        n_videos=n_videos(evaluation.n_videos, evaluation.n_dataset),
        metrics=CARD_TITLES,
        figure=partial(median_and_spread, digits=CARD_DIGITS),
    )
