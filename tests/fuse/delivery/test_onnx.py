"""A model that is handed on as an ONNX graph scores as it does at home, whatever it is made of."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from commands import called, document

from vqa_twostage.fuse.data import Dataset, Features
from vqa_twostage.fuse.delivery import graph_forward, onnx_check, onnx_graph
from vqa_twostage.fuse.delivery.onnx_check import make_graph
from vqa_twostage.fuse.delivery.onnx_graph import WholeModel
from vqa_twostage.fuse.export import ExportResult, OnnxFile, export_run
from vqa_twostage.fuse.learning import scorer_file as saved
from vqa_twostage.fuse.learning.fit import Fitted
from vqa_twostage.fuse.learning.model import Head
from vqa_twostage.fuse.learning.scorer import Scorer, refit
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.splits import Split
from vqa_twostage.fuse.streams import Streams
from vqa_twostage.fuse.temporal.gru import Gru
from vqa_twostage.fuse.train import train_run
from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.features import ArrayName

onnxruntime = pytest.importorskip("onnxruntime", reason="needs pip install 'vqa-twostage[onnx]'")
pytestmark = pytest.mark.usefixtures("one_thread")

FUSIONS, ENCODERS, POOLINGS = (
    sorted(spec.available(f"fuse.{kind}")) for kind in ("fusion", "temporal", "pooling")
)
# each part once; in every combination they would be ten times as many
HEADS = list(zip(FUSIONS, cycle(ENCODERS), cycle(POOLINGS), strict=False))


@pytest.fixture(autouse=True)
def _unchecked() -> Iterator[None]:
    """Without checks of shapes: torch's scan, in the graph of a recurrent network, takes no
    function that has them.
    """
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture(scope="module")
def tiny(toy_data: Dataset) -> Dataset:
    """Two arrays a track: a graph is made in two seconds."""
    return with_arrays(
        toy_data,
        lambda track: {name: track.arrays[ArrayName(name)] for name in ("c1/std", "last/mean")},
    )


@pytest.fixture(scope="module")
def run(tiny: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    train_run(
        tiny, TrainOptions(fusion="concat", protocol="random:n=1", epochs=4, members=2), folder
    )
    return folder


@pytest.fixture(scope="module")
def done(run: Path, tmp_path_factory: pytest.TempPathFactory) -> CompletedProcess[str]:
    folder = tmp_path_factory.mktemp("models")
    done = called(
        "vqa-fuse", "export", run, "--output", folder / "model", "--onnx", "--json", cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def exported(done: CompletedProcess[str]) -> Path:
    return Path(document(done)["output"])


def with_arrays(data: Dataset, make: Callable[[Features], dict[str, np.ndarray]]) -> Dataset:
    """The same videos with other arrays; of the temporal track the first three frames."""
    spatial, temporal = data.features.map(
        lambda track: replace(
            track, arrays={ArrayName(name): array for name, array in make(track).items()}
        )
    )
    return replace(data, features=Streams(spatial, first_frames(temporal, 3)))


def first_frames(track: Features, count: int, videos: int | None = None) -> Features:
    """Of the first ``videos``, or of all."""
    return replace(
        track,
        arrays={name: array[:videos, :count] for name, array in track.arrays.items()},
        mask=track.mask[:videos, :count],
        timestamp=track.timestamp[:videos, :count],
    )


def with_maps(data: Dataset) -> Dataset:
    """Maps of three sizes, a maximum, a level that is rotated, values that are no numbers."""
    generator = np.random.default_rng(0)
    shapes = {
        "c1/grid": (3, 4, 4),
        "c2/grid": (4, 2, 2),
        "c2/max": (16,),
        "deep/mean": (70,),
        "last/grid": (5, 1, 1),
    }

    def made(track: Features) -> dict[str, np.ndarray]:
        names = ("c1/mean", "c2/mean", "last/mean")
        arrays = {name: track.arrays[ArrayName(name)] for name in names}
        drawn = {
            name: generator.normal(size=(*track.mask.shape, *shape))
            for name, shape in shapes.items()
        }
        drawn["deep/mean"][::7, 0, :3] = np.nan, np.inf, -np.inf
        return {name: array.astype("f4") for name, array in {**arrays, **drawn}.items()}

    return with_arrays(data, made)


def refitted(data: Dataset, **options: Any) -> Scorer:
    """A model that has learnt a little of a dataset, and is calibrated."""
    chosen = TrainOptions(**{"fusion": "concat", "members": 1, "epochs": 8, **options})
    data = replace(data, features=data.features.map(Features.only, Head.of(chosen).reads))
    everything, nothing = np.arange(len(data.mos)), np.zeros((len(data.mos), 1))
    noise = np.random.default_rng(0).normal(size=len(data.mos)) * data.mos.std() / 2
    split = Split(0, everything, everything, everything)
    return refit(data, chosen, [split], [Fitted(data.mos + noise, 8, Streams(nothing, nothing))])


def by_graph(content: bytes | Path, features: Streams[Features]) -> np.ndarray:
    """Scores by onnxruntime, of features as a stranger would give them: by the names of arrays in
    the cache.
    """
    session = onnxruntime.InferenceSession(content if isinstance(content, bytes) else str(content))
    inputs = {
        f"{stream}.{name.replace('/', '.')}": array.astype("f4")
        for stream, track in features.items()
        for name, array in track.arrays.items()
    } | {f"{stream}.mask": track.mask for stream, track in features.items()}
    (scores,) = session.run(
        ["score"], {wanted.name: inputs[wanted.name] for wanted in session.get_inputs()}
    )
    return np.asarray(scores)


@pytest.mark.parametrize(("fusion", "encoder", "pooling"), HEADS)
def test_every_part_scores_in_a_graph_as_it_does_here(
    fusion: str, encoder: str, pooling: str, toy_data: Dataset
) -> None:
    data = with_maps(toy_data)
    parts = {
        "fusion": fusion,
        "temporal_encoder": encoder,
        "pooling": pooling,
        "temporal_pooling": "avg",
    }
    scorer = refitted(data, **parts)
    graph = make_graph(scorer)
    assert graph.difference <= 1e-5
    known = scorer.scores(data.features)
    assert np.ptp(known) > 0.05
    assert by_graph(graph.content, data.features) == pytest.approx(known, abs=1e-5)
    for told in (b"fuse/", b".py", b"site-packages"):
        assert told not in graph.content, "a graph says nothing of the machine it was made on"


def test_labels_of_0_to_100_are_scored_as_exactly_as_their_scale_allows(tiny: Dataset) -> None:
    manifest = replace(tiny.manifest, scale=(0.0, 100.0))
    assert (
        make_graph(refitted(replace(tiny, manifest=manifest, mos=tiny.mos * 20))).difference <= 1e-4
    )


def test_a_model_without_calibration_scores_alike_too(tiny: Dataset) -> None:
    scorer = replace(refitted(tiny), curve=None)
    arrays = [
        torch.from_numpy(array).float()
        for track in tiny.features
        for array in track.arrays.values()
    ]
    masks = [torch.from_numpy(np.array(track.mask)) for track in tiny.features]
    with torch.no_grad():
        assert WholeModel(scorer).eval()(*arrays, *masks).numpy() == pytest.approx(
            scorer.scores(tiny.features), abs=1e-5
        )


def test_a_graph_takes_any_number_of_videos_and_frames(
    exported: Path, run: Path, tiny: Dataset
) -> None:
    scorer = saved.load(run)
    for videos, frames in ((1, Streams(1, 1)), (60, Streams(4, 1)), (7, Streams(1, 3))):
        features = Streams(
            first_frames(tiny.spatial, frames.spatial, videos),
            first_frames(tiny.temporal, frames.temporal, videos),
        )
        scores = by_graph(exported / "head.onnx", features)
        assert scores == pytest.approx(scorer.scores(features), abs=1e-5), (videos, frames)


def test_config_and_card_name_the_inputs_of_the_graph(exported: Path) -> None:
    told = json.loads((exported / "config.json").read_text())["onnx"]
    session = onnxruntime.InferenceSession(str(exported / told["file"]))
    assert {given.name: given.shape for given in session.get_inputs()} == {
        name: given["shape"] for name, given in told["inputs"].items()
    }
    assert told["inputs"]["temporal.c1.std"] == {
        **{"type": "float32", "shape": ["videos", "temporal_frames", 16], "stored": "c1/std"}
    }
    assert told["inputs"]["spatial.mask"] == {"type": "bool", "shape": ["videos", "frames"]}
    assert [(given.name, given.shape) for given in session.get_outputs()] == [("score", ["videos"])]
    assert told["output"] == {"score": {"type": "float32", "shape": ["videos"]}}
    card = (exported / "README.md").read_text()
    assert "- `temporal.c1.std`: float32 [videos, temporal_frames, 16]\n" in card
    assert "`head.onnx`" in card and "`score` [videos]" in card


def test_the_command_says_how_far_the_graph_is_off_and_torch_says_nothing(
    done: CompletedProcess[str], exported: Path, run: Path
) -> None:
    assert done.stderr == ""
    told = document(done)
    assert told["files"] == ["README.md", "config.json", "head.onnx", "model.safetensors"]
    assert told["onnx"]["bytes"] == (exported / "head.onnx").stat().st_size
    assert 0 <= told["onnx"]["difference"] <= 1e-5
    graph = OnnxFile(**told["onnx"])
    result = ExportResult(run, exported, told["files"], told["bytes"], graph)
    assert result.to_json() == told | {"run": str(run), "output": str(exported)}
    said = result.to_text()
    assert "head.onnx: 0." in said and "random features score as here within " in said


def test_an_export_without_a_graph_leaves_no_older_graph(
    exported: Path, run: Path, tmp_path: Path
) -> None:
    for name in ("config.json", "head.onnx"):
        (tmp_path / name).write_bytes((exported / name).read_bytes())
    assert export_run(run, tmp_path).files == ["README.md", "config.json", "model.safetensors"]
    assert "onnx" not in json.loads((tmp_path / "config.json").read_text())
    assert "onnx" not in (tmp_path / "README.md").read_text()


def test_a_part_that_cannot_be_a_graph_is_named_and_nothing_is_written(
    tiny: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    options = TrainOptions(
        fusion="concat", temporal_encoder="gru:hidden=4", protocol="random:n=1", epochs=1, members=1
    )
    train_run(tiny, options, run)

    monkeypatch.delitem(graph_forward.FORWARDS, Gru)
    with pytest.raises(
        UsageError, match="^temporal encoder gru:hidden=4 cannot be written as ONNX"
    ):
        export_run(run, tmp_path / "model", onnx=True)
    assert not (tmp_path / "model").exists()


def test_a_graph_that_scores_otherwise_is_not_written(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_graph, "CLIP", 1.0)
    done = called("vqa-fuse", "export", run, "--output", "model", "--onnx", cwd=tmp_path)
    assert done.returncode == 2 and "and 1e-05 is allowed; export without --onnx" in done.stderr
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("package", onnx_check.PACKAGES)
def test_a_missing_package_is_told_before_anything_is_written(
    package: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    done = called("vqa-fuse", "export", run, "--output", "model", "--onnx", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == f"Error: --onnx needs {package}; run: pip install {package}\n"
    assert not (tmp_path / "model").exists()
    assert called("vqa-fuse", "export", run, "--output", "model", cwd=tmp_path).returncode == 0
