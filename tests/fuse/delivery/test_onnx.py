"""A model exported as an ONNX graph gives the scores of the original, for every plug-in."""

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
from toy_cache import FRAMES, each_track, with_draws, with_second_tracks

from vqa_twostage.fuse.averaging import Setting
from vqa_twostage.fuse.data import Dataset, Features, Side
from vqa_twostage.fuse.delivery import graph_forward, onnx_check, onnx_graph
from vqa_twostage.fuse.delivery.onnx_check import make_graph
from vqa_twostage.fuse.delivery.onnx_graph import WholeModel
from vqa_twostage.fuse.export import ExportResult, OnnxFile, config_of, export_run
from vqa_twostage.fuse.learning import scorer_file as saved
from vqa_twostage.fuse.learning.fit import Fitted
from vqa_twostage.fuse.learning.model import Head
from vqa_twostage.fuse.learning.scorer import Scorer, refit
from vqa_twostage.fuse.learning.sides import track_names
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.splits import Split
from vqa_twostage.fuse.streams import Streams
from vqa_twostage.fuse.temporal.gru import Gru
from vqa_twostage.fuse.train import train_run
from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.datasets.axes import Axis
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.features import ArrayName

onnxruntime = pytest.importorskip("onnxruntime", reason="needs pip install 'vqa-twostage[onnx]'")
pytestmark = pytest.mark.usefixtures("one_thread")

FUSIONS, ENCODERS, POOLINGS = (
    sorted(spec.available(f"fuse.{kind}")) for kind in ("fusion", "temporal", "pooling")
)
# each plug-in once; all combinations would be ten times as many
HEADS = list(zip(FUSIONS, cycle(ENCODERS), cycle(POOLINGS), strict=False))


@pytest.fixture(autouse=True)
def _unchecked() -> Iterator[None]:
    """Disable shape checks: torch's scan, used for recurrent networks, accepts no function that
    has them.
    """
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture(scope="module")
def tiny(toy_data: Dataset) -> Dataset:
    """Two arrays per track, so that a graph is built in two seconds."""
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
def export_result(run: Path, tmp_path_factory: pytest.TempPathFactory) -> CompletedProcess[str]:
    folder = tmp_path_factory.mktemp("models")
    result = called(
        "vqa-fuse", "export", run, "--output", folder / "model", "--onnx", "--json", cwd=folder
    )
    assert result.returncode == 0, result.stderr
    return result


@pytest.fixture(scope="module")
def exported(export_result: CompletedProcess[str]) -> Path:
    return Path(document(export_result)["output"])


def with_arrays(data: Dataset, make_arrays: Callable[[Features], dict[str, np.ndarray]]) -> Dataset:
    """The same videos with other arrays; of the temporal track the first three frames."""
    spatial, (temporal,) = each_track(
        data,
        lambda track: replace(
            track, arrays={ArrayName(name): array for name, array in make_arrays(track).items()}
        ),
    )
    return replace(data, features=Streams(spatial, (first_frames(temporal, 3),)))


def first_frames(track: Features, count: int, videos: int | None = None) -> Features:
    """The first ``count`` frames of the first ``videos`` videos, or of all videos."""
    return replace(
        track,
        arrays={name: array[:videos, :count] for name, array in track.arrays.items()},
        mask=track.mask[:videos, :count],
        timestamp=track.timestamp[:videos, :count],
    )


def with_maps(data: Dataset) -> Dataset:
    """Maps of three sizes, a maximum, a level that is rotated, and values that are not finite."""
    generator = np.random.default_rng(0)
    shapes = {
        "c1/grid": (3, 4, 4),
        "c2/grid": (4, 2, 2),
        "c2/max": (16,),
        "deep/mean": (70,),
        "last/grid": (5, 1, 1),
    }

    def random_arrays(track: Features) -> dict[str, np.ndarray]:
        names = ("c1/mean", "c2/mean", "last/mean")
        arrays = {name: track.arrays[ArrayName(name)] for name in names}
        new_arrays = {
            name: generator.normal(size=(*track.mask.shape, *shape))
            for name, shape in shapes.items()
        }
        new_arrays["deep/mean"][::7, 0, :3] = np.nan, np.inf, -np.inf
        return {name: array.astype("f4") for name, array in {**arrays, **new_arrays}.items()}

    return with_arrays(data, random_arrays)


def refitted(data: Dataset, **options: Any) -> Scorer:
    """A briefly trained and calibrated model."""
    train_options = TrainOptions(**{"fusion": "concat", "members": 1, "epochs": 8, **options})
    read = data.features.map(
        lambda side, names: tuple(track.only(names) for track in side),
        Head.of(train_options).reads,
    )
    data = replace(data, features=read)
    everything, nothing = np.arange(len(data.mos)), np.zeros((len(data.mos), 1))
    noise = np.random.default_rng(0).normal(size=len(data.mos)) * data.mos.std() / 2
    split = Split(0, everything, everything, everything)
    settings = {
        str(plugin.short_spec): Setting(0, float(np.median(plugin.build().penalties)))
        for plugin in Head.of(train_options).closed_forms
    }
    fitted = Fitted(data.mos + noise, 8, Streams(nothing, nothing), settings=settings)
    return refit(data, train_options, [split], [fitted])


def by_graph(content: bytes | Path, features: Streams[Side]) -> np.ndarray:
    """Scores by onnxruntime, of features named after the arrays in the cache."""
    session = onnxruntime.InferenceSession(content if isinstance(content, bytes) else str(content))
    inputs: dict[str, np.ndarray] = {}
    for stream, side in features.items():
        for name, track in zip(track_names([each.identity for each in side]), side, strict=True):
            place = f"{stream}.{name}" if name else stream
            inputs |= {
                f"{place}.{array.replace('/', '.')}": values.astype("f4")
                for array, values in track.arrays.items()
            }
            inputs |= {f"{place}.mask": track.mask, f"{stream}.mask": track.mask}
    (scores,) = session.run(
        ["score"],
        {graph_input.name: inputs[graph_input.name] for graph_input in session.get_inputs()},
    )
    return np.asarray(scores)


@pytest.mark.long
@pytest.mark.parametrize(("fusion", "encoder", "pooling"), HEADS)
def test_graph_of_every_plug_in_gives_the_scores_of_the_model(
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
    expected = scorer.scores(data.features)
    assert np.ptp(expected) > 0.05
    assert by_graph(graph.content, data.features) == pytest.approx(expected, abs=1e-5)
    for path_fragment in (b"fuse/", b".py", b"site-packages"):
        assert path_fragment not in graph.content, (
            "a graph holds no paths of the machine that exported it"
        )


@pytest.mark.long
def test_graph_on_a_scale_of_0_to_100_is_as_accurate_as_the_scale_allows(tiny: Dataset) -> None:
    manifest = replace(tiny.manifest, scale=(0.0, 100.0))
    assert (
        make_graph(refitted(replace(tiny, manifest=manifest, mos=tiny.mos * 20))).difference <= 1e-4
    )


def test_graph_of_an_uncalibrated_model_gives_the_scores_of_the_model(tiny: Dataset) -> None:
    scorer = replace(refitted(tiny), curve=None)
    arrays = [
        torch.from_numpy(array).float() for track in tiny.tracks for array in track.arrays.values()
    ]
    masks = [torch.from_numpy(np.array(track.mask)) for track in tiny.tracks]
    with torch.no_grad():
        assert WholeModel(scorer).eval()(*arrays, *masks).numpy() == pytest.approx(
            scorer.scores(tiny.features), abs=1e-5
        )


@pytest.mark.long
def test_graph_of_a_model_of_native_views_reads_their_features(tiny: Dataset) -> None:
    """A graph begins with features, whatever the networks saw; draws of patches are rows."""
    data = with_draws(tiny, 2)
    scorer = refitted(data)
    graph = make_graph(scorer)
    expected = scorer.scores(data.features)
    assert by_graph(graph.content, data.features) == pytest.approx(expected, abs=1e-5)
    tracks = config_of(scorer)["features"]
    assert [track["extractor"] for track in tracks] == [
        "spatialnet:crops=2",
        "temporalnet:crops=2",
    ]


@pytest.mark.long
@pytest.mark.parametrize("fusion", ["concat", "dynamic"])
def test_graph_of_a_head_of_means_has_frames_of_its_own_for_each_of_several_tracks(
    fusion: str, tiny: Dataset, tmp_path: Path
) -> None:
    data, run = with_second_tracks(tiny, frames=2), tmp_path / "run"
    options = TrainOptions(fusion=fusion, protocol="random:n=1", epochs=4, members=2)
    train_run(data, options, run)
    export_run(run, tmp_path / "model", onnx=True)
    names = [
        *["spatial.spatialnet", "spatial.second_spatial"],
        *["temporal.temporalnet", "temporal.second_temporal"],
    ]
    described = json.loads((tmp_path / "model" / "config.json").read_text())["onnx"]["inputs"]
    assert list(described)[-4:] == [f"{name}.mask" for name in names]
    axes = [described[f"{name}.mask"]["shape"] for name in names]
    assert axes == [["videos", f"{name.replace('.', '_')}_frames"] for name in names]
    assert described["temporal.second_temporal.c1.std"] == {
        "type": "float32",
        "shape": ["videos", "temporal_second_temporal_frames", 16],
        "stored": "second_temporal/c1/std",
    }
    scorer = saved.load(run)
    assert data.features.map(lambda side: [track.mask.shape[1] for track in side]) == Streams(
        [FRAMES, 2], [3, 2]
    )
    for videos in (1, 7, 60):
        features = each_track(data, lambda track, count=videos: first_frames(track, 9, count))
        scores = by_graph(tmp_path / "model" / "head.onnx", features)
        assert scores == pytest.approx(scorer.scores(features), abs=1e-5), videos
    assert np.ptp(scores) > 0.05


@pytest.mark.long
def test_graph_of_a_head_of_frames_has_one_mask_for_the_tracks_of_a_stream(
    tiny: Dataset,
) -> None:
    data = with_second_tracks(tiny)
    scorer = refitted(data, fusion="cross_modal", temporal_encoder="attention")
    graph = make_graph(scorer)
    assert [name for name in graph.inputs if "mask" in name] == ["spatial.mask", "temporal.mask"]
    axes = {item.shape[1] for name, item in graph.inputs.items() if name.startswith("spatial.")}
    assert axes == {"frames"}
    expected = scorer.scores(data.features)
    assert np.ptp(expected) > 0.05
    assert by_graph(graph.content, data.features) == pytest.approx(expected, abs=1e-5)


def test_uncalibrated_graph_of_several_tracks_gives_the_scores_of_the_model(
    tiny: Dataset,
) -> None:
    data = with_second_tracks(tiny, frames=2)
    scorer = replace(refitted(data), curve=None)
    arrays = [
        torch.from_numpy(array.astype("f4"))
        for track in data.tracks
        for array in track.arrays.values()
    ]
    masks = [torch.from_numpy(np.array(track.mask)) for track in data.tracks]
    with torch.no_grad():
        assert WholeModel(scorer).eval()(*arrays, *masks).numpy() == pytest.approx(
            scorer.scores(data.features), abs=1e-5
        )


@pytest.mark.long
def test_graph_accepts_any_number_of_videos_and_frames(
    exported: Path, run: Path, tiny: Dataset
) -> None:
    scorer = saved.load(run)
    for videos, frames in ((1, Streams(1, 1)), (60, Streams(4, 1)), (7, Streams(1, 3))):
        features = Streams(
            *(
                (first_frames(track, count, videos),)
                for track, count in zip(tiny.tracks, frames, strict=True)
            )
        )
        scores = by_graph(exported / "head.onnx", features)
        assert scores == pytest.approx(scorer.scores(features), abs=1e-5), (videos, frames)


def test_exported_config_and_card_name_the_inputs_of_the_graph(exported: Path) -> None:
    onnx_config = json.loads((exported / "config.json").read_text())["onnx"]
    session = onnxruntime.InferenceSession(str(exported / onnx_config["file"]))
    assert {tensor.name: tensor.shape for tensor in session.get_inputs()} == {
        name: tensor["shape"] for name, tensor in onnx_config["inputs"].items()
    }
    assert onnx_config["inputs"]["temporal.c1.std"] == {
        **{"type": "float32", "shape": ["videos", "temporal_frames", 16], "stored": "c1/std"}
    }
    assert onnx_config["inputs"]["spatial.mask"] == {"type": "bool", "shape": ["videos", "frames"]}
    assert [(tensor.name, tensor.shape) for tensor in session.get_outputs()] == [
        ("score", ["videos"])
    ]
    assert onnx_config["output"] == {"score": {"type": "float32", "shape": ["videos"]}}
    card = (exported / "README.md").read_text()
    assert "- `temporal.c1.std`: float32 [videos, temporal_frames, 16]\n" in card
    assert "`head.onnx`" in card and "`score` [videos]" in card


def test_export_command_reports_the_difference_of_the_graph_and_prints_no_torch_warnings(
    export_result: CompletedProcess[str], exported: Path, run: Path
) -> None:
    assert export_result.stderr == ""
    exported_json = document(export_result)
    assert exported_json["files"] == ["README.md", "config.json", "head.onnx", "model.safetensors"]
    assert exported_json["onnx"]["bytes"] == (exported / "head.onnx").stat().st_size
    assert 0 <= exported_json["onnx"]["difference"] <= 1e-5
    graph = OnnxFile(**exported_json["onnx"])
    result = ExportResult(run, exported, exported_json["files"], exported_json["bytes"], graph)
    assert result.to_json() == exported_json | {"run": str(run), "output": str(exported)}
    text = result.to_text()
    assert "head.onnx: 0." in text and "random features score as here within " in text


def test_export_without_a_graph_removes_an_older_graph(
    exported: Path, run: Path, tmp_path: Path
) -> None:
    for name in ("config.json", "head.onnx"):
        (tmp_path / name).write_bytes((exported / name).read_bytes())
    assert export_run(run, tmp_path).files == ["README.md", "config.json", "model.safetensors"]
    assert "onnx" not in json.loads((tmp_path / "config.json").read_text())
    assert "onnx" not in (tmp_path / "README.md").read_text()


@pytest.mark.long
def test_plug_in_without_a_graph_form_is_refused_before_anything_is_written(
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


@pytest.mark.long
@pytest.mark.parametrize(
    ("fusion", "encoder"),
    [("concat", "mean"), ("multi_level", "mean"), ("cross_modal", "attention")],
)
def test_no_part_is_blamed_where_each_is_a_graph_on_its_own(
    fusion: str, encoder: str, tiny: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("of the whole")

    monkeypatch.setattr(onnx_check, "to_onnx", fail)
    with pytest.raises(UsageError, match=r"^this head cannot.*RuntimeError: of the whole"):
        make_graph(refitted(tiny, fusion=fusion, temporal_encoder=encoder))


@pytest.mark.long
def test_graph_with_different_scores_is_not_written(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_graph, "CLIP", 1.0)
    result = called("vqa-fuse", "export", run, "--output", "model", "--onnx", cwd=tmp_path)
    assert result.returncode == 2 and "and 1e-05 is allowed; export without --onnx" in result.stderr
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("package", onnx_check.PACKAGES)
def test_missing_package_is_reported_before_anything_is_written(
    package: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    result = called("vqa-fuse", "export", run, "--output", "model", "--onnx", cwd=tmp_path)
    assert result.returncode == 2
    how = 'pip install "vqa-twostage[onnx]"'
    assert result.stderr == f"Error: --onnx needs {package}; run: {how}\n"
    assert not (tmp_path / "model").exists()
    assert called("vqa-fuse", "export", run, "--output", "model", cwd=tmp_path).returncode == 0


def test_graph_of_a_model_with_axes_is_refused_and_its_folder_has_them(
    tiny: Dataset, tmp_path: Path
) -> None:
    labels = np.arange(len(tiny.mos)) % 7.0
    rows = tiny.manifest.rows.assign(mos_technical=labels)
    manifest = replace(tiny.manifest, rows=rows, axes=(Axis("technical", (0.0, 6.0), "lower"),))
    options = TrainOptions(
        fusion="concat", protocol="random:n=1", epochs=2, members=1, axes=("technical",)
    )
    train_run(replace(tiny, manifest=manifest), options, tmp_path / "run")
    with pytest.raises(UsageError, match=r"one output.*axes too \(technical\); leave out --onnx"):
        export_run(tmp_path / "run", tmp_path / "model", onnx=True)
    assert not (tmp_path / "model").exists()
    export_run(tmp_path / "run", tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text(encoding="utf-8"))
    assert config["axes"]["technical"].items() >= {"scale": [0.0, 6.0], "better": "lower"}.items()
    assert config["axes"]["technical"]["calibration"].keys() == config["calibration"].keys()
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert "Further labels: technical, 0.0 to 6.0, lower is better." in card
    assert "| technical: SRCC |" in card
