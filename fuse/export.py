"""A run as a model to hand on: weights, what they need to be used, and a card that says what they
are worth.

The folder is one that the Hugging Face hub takes, and that `fuse.score.load` reads:
``model.safetensors`` holds all that scoring needs, ``config.json`` says the same for people and
other programs, ``README.md`` is the model card, and ``head.onnx``, where asked for, scores features
in runtimes without torch.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vqa_twostage import __version__
from vqa_twostage.fuse.delivery import onnx_check
from vqa_twostage.fuse.delivery.onnx_graph import FILE as ONNX_FILE
from vqa_twostage.fuse.evaluate import evaluate
from vqa_twostage.fuse.learning import scorer_file as saved
from vqa_twostage.fuse.learning.scorer_file import Scorer
from vqa_twostage.fuse.reporting.terminal import said_n
from vqa_twostage.pipeline import records
from vqa_twostage.pipeline.errors import require

CARD = Path(__file__).parent / "reporting" / "page" / "card.md"
LIBRARY = "vqa-twostage"
METRICS = {
    "srcc": "SRCC",
    "plcc": "PLCC",
    "krcc": "KRCC",
    "rmse": "RMSE",
    "plcc_raw": "PLCC before the logistic",
}


def export_run(run: Path, output: Path, onnx: bool = False) -> dict[str, Any]:
    """Writes the folder ``output``; the document of ``vqa-fuse export --json``.

    ``onnx``: also the model as a graph, whose scores are compared with this program's. UsageError
    where ``run`` has no model, ``output`` is there and is no export of ours, or the graph is not to
    be had; nothing is written then.
    """
    if onnx:
        onnx_check.require_packages()
    scorer, figures = saved.load(run), evaluate(run).to_json()
    require(scorer.training is not None, f"{run} was trained by an earlier version; train it again")
    require(
        not output.exists() or not output.samefile(run),
        f"--output {output} is the run itself; give another folder",
    )
    require(
        _is_ours(output), f"--output {output} is there, and no exported model; give another folder"
    )
    graph = onnx_check.make_graph(scorer) if onnx else None
    config = config_of(scorer) | ({"onnx": graph.about} if graph else {})
    output.mkdir(parents=True, exist_ok=True)
    (output / ONNX_FILE).unlink(missing_ok=True)  # of the model that was here
    shutil.copyfile(run / saved.FILE, output / saved.FILE)
    records.write_json(output / "config.json", config)
    records.write_text(output / "README.md", card(config, figures))
    told = None
    if graph:
        (output / ONNX_FILE).write_bytes(graph.content)
        told = {"file": ONNX_FILE, "bytes": len(graph.content), "difference": graph.difference}
    files = sorted(path.name for path in output.iterdir())
    weights = (output / saved.FILE).stat().st_size
    return {"run": str(run), "output": str(output), "files": files, "bytes": weights, "onnx": told}


def _is_ours(output: Path) -> bool:
    """Whether ``output`` may be written: not there, empty, or an export of this program."""
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return True
    config = output / "config.json"
    return config.is_file() and records.read_json(config).get("library") == LIBRARY


def config_of(scorer: Scorer) -> dict[str, Any]:
    """What a model is, reads and gives, as plain values."""
    training = scorer.training
    assert training is not None
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
        "features": [track.to_json() for track in training.tracks],
        "calibration": {
            "mean": scorer.mean,
            "std": scorer.std,
            "logistic": None if scorer.curve is None else list(map(float, scorer.curve)),
        },
    }


def card(config: dict[str, Any], figures: dict[str, Any]) -> str:
    """The model card, in the Markdown of the Hugging Face hub."""
    from jinja2 import Environment, StrictUndefined

    template = Environment(undefined=StrictUndefined, keep_trailing_newline=True).from_string(
        CARD.read_text("utf-8")
    )
    apart = {json.dumps(track, sort_keys=True): track for track in config["features"]}
    unknown = dict.fromkeys(("preprocessing", "weights"), "imported")
    tracks = [{**unknown, **track} for track in apart.values()]
    return template.render(
        {"onnx": None, **config},
        tracks=tracks,
        figures=figures,
        n=said_n(figures),
        metrics=METRICS,
        number=_number,
    )


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
