"""`vqa-cache export` writes every bit of a track, and `vqa-cache import` reads it back."""

from __future__ import annotations

import itertools
import json
import shutil
import zipfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_tracks import random_features

from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.cache import video_rows
from vqa_twostage.pipeline.cache.export_formats import FORMATS
from vqa_twostage.pipeline.cache.exported_files import is_export, read_export
from vqa_twostage.pipeline.cache.exporting import export_tracks, tracks_to_export
from vqa_twostage.pipeline.cache.importing import ImportedTrack, Selection, import_features
from vqa_twostage.pipeline.cache.layout import TrackPath
from vqa_twostage.pipeline.cache.same_dataset import save_manifest
from vqa_twostage.pipeline.cache.track import open_track
from vqa_twostage.pipeline.cache.track_writer import write_track
from vqa_twostage.pipeline.cli_cache import cache_command
from vqa_twostage.pipeline.datasets.axes import Axis
from vqa_twostage.pipeline.datasets.manifest import Manifest
from vqa_twostage.pipeline.errors import DONE, UsageError
from vqa_twostage.pipeline.features import ArrayName, VideoAttributes, VideoFeatures
from vqa_twostage.pipeline.files import is_text
from vqa_twostage.pipeline.identity import Kind, TrackIdentity

IDS = ["007", "b", "dir/c d.mp4", "ä 🎞", "e,'\"", "-0"]
FRAMES = [3, 1, 2, 5, 3, 4]
EACH_FORMAT = pytest.mark.parametrize("to", FORMATS)


def manifest_of(ids: list[str]) -> Manifest:
    count = len(ids)
    rows = pd.DataFrame(
        {
            "id": ids,
            "path": [f"{number}.mp4" for number in range(count)],
            "mos": np.linspace(1, 5, count),
            "mos_std": [np.nan, *np.linspace(0.1, 0.5, count - 1)],
            "group": [f"scene {number // 2}" for number in range(count)],
            "split": ["", *["train"] * (count - 1)],
        }
    )
    return Manifest("own", "own", "opinion", (1.0, 5.0), rows)


def make_track(
    cache: Path,
    manifest: Manifest,
    frames: dict[str, int],
    kind: Kind = "spatial",
    extractor: str = "",
) -> TrackPath:
    """A track of random features; its videos lie in another order than the manifest's."""
    save_manifest(cache, manifest)
    named = spec.parse(extractor or f"{kind}net:x=1")
    identity = TrackIdentity(kind, named, spec.parse("uniform:frames=8"))
    path = TrackPath.of(cache, manifest.name, extractor or f"{kind}net", identity)
    with write_track(path, identity, {}) as track:
        for number, (video_id, count) in enumerate(reversed(frames.items())):
            track.write(video_id, random_features(number, count))
    return path


@pytest.fixture
def track(tmp_path: Path) -> TrackPath:
    return make_track(tmp_path / "cache", manifest_of(IDS), dict(zip(IDS, FRAMES, strict=True)))


def exported(track: TrackPath, to: str, output: Path, pooled: bool = False) -> Path:
    if to == "parquet":
        pytest.importorskip("pyarrow")
    (written,) = export_tracks([track], to, output, pooled).tracks
    return Path(written.output)


def imported(file: Path, cache: Path, *, ids: list[str] = IDS, **selection: Any) -> ImportedTrack:
    chosen = Selection(**selection)
    return import_features(manifest_of(ids), cache, file, "temporal", "again", chosen)


def assert_same(original: str | TrackPath, again: str) -> None:
    """Every array, number and time of a frame is the same to the last bit."""
    with open_track(Path(original)) as one, open_track(Path(again)) as other:
        assert one.ids == other.ids and one.array_names == other.array_names
        for video_id in one.ids:
            old, new = one.read(video_id), other.read(video_id)
            pairs = [(old.frame_index, new.frame_index), (old.timestamp, new.timestamp)]
            pairs += [(old.arrays[name], new.arrays[name]) for name in one.array_names]
            for before, after in pairs:
                assert before.dtype == after.dtype and before.shape == after.shape
                assert before.tobytes() == after.tobytes(), video_id


@EACH_FORMAT
def test_frames_come_back_bit_for_bit(to: str, track: TrackPath, tmp_path: Path) -> None:
    file = exported(track, to, tmp_path / "out")
    result = imported(file, tmp_path / "other")
    assert_same(track, result.track)
    assert (result.videos, result.written, result.frames) == (6, 6, (1, 5))
    assert result.columns == 4 + 24 + 3 and result.order is None
    again = imported(file, tmp_path / "other")
    assert (again.written, again.track) == (0, result.track)
    # and what was imported is exported the same
    twice = exported(TrackPath.parse(Path(result.track)), to, tmp_path / "twice")
    assert_same(track, imported(twice, tmp_path / "third").track)


@EACH_FORMAT
def test_further_labels_are_written_beside_the_main_ones(to: str, tmp_path: Path) -> None:
    plain = manifest_of(IDS)
    labels = [1.5, np.nan, 2, 3, 4, 5]
    axes = (Axis("technical", (1.0, 5.0)),)
    manifest = replace(plain, rows=plain.rows.assign(mos_technical=labels), axes=axes)
    track = make_track(tmp_path / "cache", manifest, dict(zip(IDS, FRAMES, strict=True)))
    file = exported(track, to, tmp_path / "out", pooled=True)
    if to == "parquet":
        found = pd.read_parquet(file)["mos_technical"].to_numpy()
    elif to == "npz":
        found = np.load(file)["mos_technical"]
    else:
        found = np.load(file / "mos_technical.npy")
    assert np.array_equal(found, labels, equal_nan=True)
    result = imported(exported(track, to, tmp_path / "frames"), tmp_path / "other")
    assert_same(track, result.track)


TEXTS = st.text(min_size=1, max_size=20).filter(is_text)


@pytest.mark.long
@settings(max_examples=8, deadline=None)
@given(
    st.dictionaries(TEXTS, st.integers(1, 6), min_size=1, max_size=8),
    st.sampled_from(["npz", "npy"]),
)
def test_any_ids_and_numbers_of_frames_come_back(
    tmp_path_factory: pytest.TempPathFactory, frames: dict[str, int], to: str
) -> None:
    folder = tmp_path_factory.mktemp("any")
    path = make_track(folder / "cache", manifest_of(list(frames)), frames)
    file = exported(path, to, folder / "out")
    assert_same(path, imported(file, folder / "other", ids=list(frames)).track)


@EACH_FORMAT
def test_features_that_are_not_finite_come_back(to: str, tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(len(IDS), 7)).astype(np.float32)
    values[1, 2], values[3, 4], values[5, 0] = np.nan, np.inf, -np.inf
    np.save(tmp_path / "f.npy", values)
    first = imported(tmp_path / "f.npy", tmp_path / "cache")
    file = exported(TrackPath.parse(Path(first.track)), to, tmp_path / "out")
    second = imported(file, tmp_path / "other")
    assert_same(first.track, second.track)
    assert second.not_finite == first.not_finite and len(first.not_finite) == 3
    pooled = exported(TrackPath.parse(Path(first.track)), to, tmp_path / "out", pooled=True)
    assert_same(first.track, imported(pooled, tmp_path / "third").track)


def test_an_npz_holds_labels_and_rows_in_the_order_of_the_manifest(
    track: TrackPath, tmp_path: Path
) -> None:
    with np.load(exported(track, "npz", tmp_path), allow_pickle=False) as found:
        assert found["ids"].tolist() == IDS
        rows = manifest_of(IDS).rows
        for name in ("mos", "mos_std"):
            np.testing.assert_array_equal(found[name], rows[name])
        assert found["group"].tolist() == rows["group"].tolist()
        assert found["split"].tolist() == rows["split"].tolist()
        assert np.diff(found["start"]).tolist() == FRAMES
        about = json.loads(found["about"].item())
        assert about["label"] == "opinion" and about["identity"]["extractor"] == "spatialnet:x=1"
        with open_track(track) as cached:
            assert TrackIdentity.from_json(about["identity"], "") == cached.identity
            for number, video_id in enumerate(IDS):
                mine = slice(found["start"][number], found["start"][number + 1])
                video = cached.read(video_id)
                assert found["timestamp"][mine].tolist() == video.timestamp.tolist()
                assert found["frame_index"][mine].tolist() == video.frame_index.tolist()
                for name, array in video.arrays.items():
                    np.testing.assert_array_equal(found[name][mine], array)


def test_a_folder_is_an_npz_unpacked_and_equal_exports_are_equal_files(
    track: TrackPath, tmp_path: Path
) -> None:
    npz, folder = (exported(track, to, tmp_path / "out") for to in ("npz", "npy"))
    with zipfile.ZipFile(npz) as archive:
        archive.extractall(tmp_path / "unpacked")
    unpacked = tmp_path / "unpacked"
    files = {file.relative_to(unpacked) for file in unpacked.rglob("*.npy")}
    assert files == {file.relative_to(folder) for file in folder.rglob("*") if file.is_file()}
    assert all((unpacked / file).read_bytes() == (folder / file).read_bytes() for file in files)
    assert_same(track, imported(unpacked, tmp_path / "other").track)
    assert exported(track, "npz", tmp_path / "second").read_bytes() == npz.read_bytes()


@EACH_FORMAT
def test_blocks_change_nothing(
    to: str, track: TrackPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = exported(track, to, tmp_path / "one")
    pooled = exported(track, to, tmp_path / "one", pooled=True)
    monkeypatch.setattr(video_rows, "BLOCK_BYTES", 200)  # two or three rows
    progress: list[tuple[int, int]] = []
    written = export_tracks(
        [track], to, tmp_path / "many", False, lambda *now: progress.append(now)
    )
    total = progress[-1][1]
    assert progress == [(number, total) for number in range(1, total + 1)] and total > 10
    assert_same(
        imported(one, tmp_path / "a").track,
        imported(Path(written.tracks[0].output), tmp_path / "b").track,
    )
    again = exported(track, to, tmp_path / "many", pooled=True)
    assert_same(imported(pooled, tmp_path / "c").track, imported(again, tmp_path / "d").track)
    if to == "npz":
        assert one.read_bytes() == Path(written.tracks[0].output).read_bytes()


@EACH_FORMAT
def test_pooled_features_are_means_over_frames(to: str, track: TrackPath, tmp_path: Path) -> None:
    result = imported(exported(track, to, tmp_path, pooled=True), tmp_path / "other")
    assert result.frames == (1, 1)
    with open_track(track) as cached, open_track(Path(result.track)) as means:
        for video_id in IDS:
            frames, mean = cached.read(video_id), means.read(video_id)
            assert mean.timestamp.tolist() == [0.0] and mean.frame_index.tolist() == [0]
            for name, array in frames.arrays.items():
                expected = array.astype(np.float64).mean(axis=0).astype(np.float32)
                assert mean.arrays[name].dtype == np.float32
                np.testing.assert_allclose(mean.arrays[name][0], expected, rtol=1e-6)


def test_a_table_is_read_by_pandas(track: TrackPath, tmp_path: Path) -> None:
    table = pd.read_parquet(exported(track, "parquet", tmp_path))
    assert list(table)[:7] == ["id", "mos", "mos_std", "group", "split", "frame_index", "timestamp"]
    assert table["id"].tolist() == list(np.repeat(IDS, FRAMES))
    with open_track(track) as cached:
        frames = [cached.read(video_id).arrays for video_id in IDS]
    for name in frames[0]:
        stored = np.concatenate([each[name] for each in frames])
        np.testing.assert_array_equal(np.stack(table[name]), stored.reshape(len(stored), -1))
    means = pd.read_parquet(exported(track, "parquet", tmp_path, pooled=True))
    assert means["id"].tolist() == IDS and "timestamp" not in means
    assert np.stack(means["c1/mean"]).shape == (6, 4)


def test_videos_without_features_are_listed(tmp_path: Path) -> None:
    path = make_track(tmp_path / "cache", manifest_of(IDS), {"b": 2, "ä 🎞": 3, "unlabelled": 2})
    (written,) = export_tracks([path], "npz", tmp_path / "out").tracks
    assert (written.videos, written.rows) == (2, 5)
    assert written.missing == ["007", "dir/c d.mp4", "e,'\"", "-0"]
    assert "2 of 6 videos, 5 rows of" in str(written)
    with np.load(written.output) as found:
        assert found["ids"].tolist() == ["b", "ä 🎞"] and found["mos"] == pytest.approx([1.8, 3.4])


def test_a_track_without_labelled_videos_is_refused(tmp_path: Path) -> None:
    path = make_track(tmp_path / "cache", manifest_of(IDS), {"stranger": 2})
    with pytest.raises(UsageError, match="no features of any video that has a label"):
        export_tracks([path], "npz", tmp_path / "out")


def test_what_is_there_is_never_overwritten(track: TrackPath, tmp_path: Path) -> None:
    other = make_track(track.cache, manifest_of(IDS), {"b": 1}, "temporal")
    for to, suffix in (("npz", ".npz"), ("npy", "")):
        mine = tmp_path / "out" / f"{other.stem}{suffix}"
        mine.parent.mkdir(exist_ok=True)
        mine.write_text("mine")
        with pytest.raises(UsageError, match="is there already and stays as it is"):
            export_tracks([track, other], to, tmp_path / "out")
        assert mine.read_text() == "mine" and list(mine.parent.iterdir()) == [mine]
        mine.unlink()


@EACH_FORMAT
def test_an_interrupted_export_leaves_nothing(
    to: str, track: TrackPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if to == "parquet":
        pytest.importorskip("pyarrow")
    monkeypatch.setattr(video_rows, "BLOCK_BYTES", 200)  # so that some blocks are written by then
    calls = itertools.count()

    def interrupt(*_: int) -> None:
        if next(calls) == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_tracks([track], to, tmp_path / "out", False, interrupt)
    assert list((tmp_path / "out").iterdir()) == []


def test_without_pyarrow_one_message_says_how_to_install_it(
    track: TrackPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vqa_twostage.pipeline.errors.find_spec", lambda name: None)
    with pytest.raises(
        UsageError,
        match=r"--to parquet needs pyarrow; run: pip install \"vqa-twostage\[parquet\]\"",
    ):
        export_tracks([track], "parquet", tmp_path)
    assert not list(tmp_path.glob("*.parquet"))
    (tmp_path / "f.parquet").write_bytes(b"PAR1")
    with pytest.raises(UsageError, match=r"f\.parquet needs pyarrow; run: pip install \"vqa-"):
        imported(tmp_path / "f.parquet", tmp_path / "other")


def test_tracks_are_chosen_by_words(track: TrackPath) -> None:
    other = make_track(track.cache, manifest_of(IDS), {"b": 1}, "temporal")
    assert tracks_to_export(track.cache, None, None, None) == [track, other]
    assert tracks_to_export(track.cache, "own", None, other.stem) == [other]
    assert tracks_to_export(track.cache, "own", track.stem, other.stem) == [track, other]
    with pytest.raises(UsageError, match=f"choose from\n  --spatial {track.stem}"):
        tracks_to_export(track.cache, "own", "resnet", None)
    with pytest.raises(UsageError, match="it holds own"):
        tracks_to_export(track.cache, "theirs", None, None)


def test_several_tracks_of_a_kind_are_exported(track: TrackPath, tmp_path: Path) -> None:
    other, third = (
        make_track(track.cache, manifest_of(IDS), {"b": 1}, "temporal", name)
        for name in ("othernet", "anothernet")
    )
    several = sorted([other, third])
    for temporal in (
        "all",
        ["all"],
        [third.stem, other.stem],
        ("othernet", "anothernet", other.stem),
    ):
        assert tracks_to_export(track.cache, None, None, temporal) == several
        assert tracks_to_export(track.cache, None, "all", temporal) == [track, *several]
    words = ["export", "--cache", str(track.cache), "--to", "npz", "--output", str(tmp_path / "f")]
    words += ["--temporal", other.stem, "--temporal", third.stem, "--json"]
    said = CliRunner().invoke(cache_command, words, standalone_mode=False)
    exported = [each["output"] for each in json.loads(said.stdout)["tracks"]]
    assert [path.stem for path in several] == [Path(path).stem for path in exported]


def test_the_command_writes_a_file_for_each_track(track: TrackPath, tmp_path: Path) -> None:
    make_track(track.cache, manifest_of(IDS), {"b": 1}, "temporal")
    words = ["export", "--cache", str(track.cache), "--to", "npz", "--output", str(tmp_path / "f")]
    said = CliRunner().invoke(cache_command, [*words, "--json"], standalone_mode=False)
    assert said.return_value == DONE
    document = json.loads(said.stdout)
    assert (document["dataset"], document["to"], document["pooled"]) == ("own", "npz", False)
    assert [(each["videos"], each["rows"]) for each in document["tracks"]] == [(6, 18), (1, 1)]
    assert document["tracks"][1]["missing"] == [name for name in IDS if name != "b"]
    assert all(Path(each["output"]).is_file() for each in document["tracks"])
    pooled = CliRunner().invoke(cache_command, [*words, "--pooled"], standalone_mode=False)
    assert "-pooled.npz: 6 of 6 videos, 6 rows of c1/mean, c5/grid, c5/std" in pooled.stdout


def test_an_unsafe_name_of_an_array_is_refused(tmp_path: Path) -> None:
    manifest = manifest_of(IDS)
    save_manifest(tmp_path / "cache", manifest)
    identity = TrackIdentity("spatial", spec.parse("net"), spec.parse("uniform"))
    path = TrackPath.of(tmp_path / "cache", "own", "net", identity)
    arrays = {ArrayName("../../evil/mean"): np.ones((2, 3))}
    with write_track(path, identity, {}) as track:
        track.write("b", VideoFeatures(arrays, np.arange(2), np.arange(2.0), VideoAttributes("")))
    for to in ("npz", "npy"):
        with pytest.raises(UsageError, match="cannot be the name of a file"):
            export_tracks([path], to, tmp_path / "out")
    assert not list(tmp_path.rglob("evil*"))


def test_import_takes_one_array_or_some_columns(track: TrackPath, tmp_path: Path) -> None:
    file = exported(track, "npz", tmp_path)
    part = imported(file, tmp_path / "a", key="c5/std", columns="2:5,20")
    assert part.columns == 4 and part.source.columns == "2:5,20:21 of 24"
    with open_track(track) as cached, open_track(Path(part.track)) as again:
        assert again.array_names == ["c5/std"]
        whole = cached.read("b").arrays[ArrayName("c5/std")]
        assert again.read("b").arrays[ArrayName("c5/std")].tolist() == (
            whole[:, [2, 3, 4, 20]].tolist()
        )
    whole_array = imported(file, tmp_path / "a", key="c5/std")
    assert whole_array.columns == 24 and whole_array.track != part.track


def test_import_matches_ids_with_the_labels_of_the_dataset(
    track: TrackPath, tmp_path: Path
) -> None:
    file = exported(track, "npy", tmp_path)
    result = imported(file, tmp_path / "a", ids=["e,'\"", "new", "b"])
    assert (result.videos, result.missing) == (2, ["new"])
    assert result.unknown == ["007", "dir/c d.mp4", "ä 🎞", "-0"]
    with pytest.raises(UsageError, match="none of them is a video of the dataset"):
        imported(file, tmp_path / "b", ids=["x", "y"])


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"ids_file": Path("ids.txt")}, "names its videos itself; leave --ids out"),
        ({"columns": "0:2"}, "choose an array with --key: c1/mean, c5/grid, c5/std"),
        ({"key": "c9/mean"}, "no such array; choose from c1/mean, c5/grid, c5/std"),
        ({"key": "c1/mean", "columns": "0:9"}, "goes beyond the 4 columns"),
    ],
)
def test_wrong_choices_are_refused(
    selection: dict[str, Any], message: str, track: TrackPath, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        imported(exported(track, "npz", tmp_path), tmp_path / "other", **selection)
    assert not (tmp_path / "other").exists()


def about(**changes: Any) -> dict[str, Any]:
    document = {"format": "vqa-features-export", "format_version": 1, "arrays": {}, **changes}
    return {"about": np.array(json.dumps(document).encode())}


FORGED: dict[str, tuple[dict[str, Any], str]] = {
    "start-order": ({"start": np.array([0, 5, 3, 6, 11, 14, 18])}, "no rows of their own"),
    "start-beyond": ({"start": np.array([0, 3, 4, 6, 11, 14, 19])}, "has 18 rows"),
    "start-negative": ({"start": np.array([-1, 3, 4, 6, 11, 14, 18])}, "no rows of their own"),
    "start-float": ({"start": np.array([0, 3, 4, 6, 11, 14, 18.0])}, "no rows of their own"),
    "twice": ({"ids": np.array(["b"] * 6)}, "names a video twice"),
    "control": ({"ids": np.array(["\x1b[2J", *IDS[1:]])}, "is no text"),
    "numbers": ({"ids": np.arange(6)}, "names no videos"),
    "objects": ({"c1/mean": np.array([[print] * 4] * 18)}, "cannot be read"),
    "integers": ({"c1/mean": np.ones((18, 4), int)}, "c1/mean is int64"),
    "flat": ({"c1/mean": np.ones(18, np.float32)}, r"c1/mean is float32 of shape \(18,\)"),
    "name": ({"../x/mean": np.ones((18, 4), np.float32)}, "is no name of an array"),
    "long": ({f"{'x' * 300}/mean": np.ones((18, 4), np.float32)}, "is no name of an array"),
    "rows": ({"c1/mean": np.ones((17, 4), np.float32)}, "c1/mean has 17 rows, its videos 18"),
    "time": ({"timestamp": np.full(18, np.nan)}, "no numbers or times"),
    "times": ({"timestamp": np.zeros((18, 2))}, "several numbers or times"),
    "version": (about(format_version=2), "version 2, and this program reads 1"),
    "format": (about(format="vqa-features-export of another kind"), "did not write it"),
}


@pytest.mark.parametrize("name", FORGED)
def test_what_cannot_be_is_refused(name: str, track: TrackPath, tmp_path: Path) -> None:
    changes, message = FORGED[name]
    with np.load(exported(track, "npz", tmp_path)) as found:
        arrays = {**found, **changes}
    np.savez(tmp_path / "forged.npz", **arrays)
    with pytest.raises(UsageError, match=message) as error:
        imported(tmp_path / "forged.npz", tmp_path / "other")
    assert "forged.npz" in str(error.value) and not (tmp_path / "other").exists()


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same features as .npz, as a folder and, where it can be written, as .parquet."""
    folder = tmp_path_factory.mktemp("exports")
    path = make_track(folder / "cache", manifest_of(IDS), dict(zip(IDS, FRAMES, strict=True)))
    for to in FORMATS:
        with suppress(UsageError):
            export_tracks([path], to, folder / to)
    (npz,) = (folder / "npz").iterdir()
    (folder / "compressed").mkdir()
    with np.load(npz) as arrays:
        np.savez_compressed(folder / "compressed" / npz.name, **arrays)
    return folder


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_export_is_never_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, exports: Path, data: st.DataObject
) -> None:
    to = data.draw(
        st.sampled_from(["compressed", *(to for to in FORMATS if (exports / to).exists())])
    )
    folder = Path(shutil.copytree(exports / to, tmp_path_factory.mktemp("damaged") / to))
    (output,) = folder.iterdir()
    files = sorted(output.rglob("*.npy")) if output.is_dir() else [output]
    file = data.draw(st.sampled_from(files))
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.booleans())
    file.write_bytes(content[: data.draw(st.integers(1, len(content)))] if cut else content)
    is_export(output)
    with suppress(UsageError):
        read_export(output, None)


def test_a_table_of_another_program_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    pd.DataFrame({"id": IDS, "x": 1.0}).to_parquet(tmp_path / "f.parquet")
    with pytest.raises(UsageError, match="vqa-cache export did not write it; of other programs"):
        imported(tmp_path / "f.parquet", tmp_path / "other")
