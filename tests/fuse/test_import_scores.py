"""Scores of published models are stored as the labels run, under one name, and nothing is stored
that says nothing.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from toy_cache import manifest_of

from vqa_twostage.fuse.cli import command as fuse_command
from vqa_twostage.fuse.data import choose_tracks
from vqa_twostage.fuse.import_scores import (
    ImportedScores,
    ScoreColumn,
    import_scores,
    summary,
)
from vqa_twostage.fuse.published_scores import score_name
from vqa_twostage.pipeline.cache.exporting import export_tracks
from vqa_twostage.pipeline.cache.feature_blocks import parse_block
from vqa_twostage.pipeline.cache.importing import import_blocks
from vqa_twostage.pipeline.cache.layout import TrackPath
from vqa_twostage.pipeline.cache.track import open_track
from vqa_twostage.pipeline.datasets.manifest import Manifest
from vqa_twostage.pipeline.errors import DONE, SOME_FAILED, UsageError
from vqa_twostage.pipeline.features import ArrayName

MANIFEST = manifest_of("own", contents=8, versions=4)
IDS = MANIFEST.rows["id"].tolist()
MOS = MANIFEST.rows["mos"].to_numpy()
# a model that is as good as published ones are
GOOD = MOS + 0.2 * np.random.default_rng(1).normal(size=len(MOS))


def table(folder: Path, scores: np.ndarray, name: str = "model.csv") -> Path:
    rows = [f"{video_id}.mp4,{score}" for video_id, score in zip(IDS, scores, strict=True)]
    (folder / name).write_text("\n".join(["video,score", *rows]))
    return folder / name


def arrays(folder: Path, **blocks: np.ndarray) -> Path:
    np.savez(folder / "model.npz", ids=np.array(IDS), **blocks)
    return folder / "model.npz"


def stored(result: ImportedScores) -> dict[str, float]:
    with open_track(Path(result.track)) as track:
        assert track.identity.kind == "score"
        name = ArrayName.of(result.name, "mean")
        return {video_id: float(track.read(video_id).arrays[name].item()) for video_id in track.ids}


def refused(file: Path, name: str = "model", manifest: Manifest = MANIFEST, **said: str) -> str:
    """The message of a refused import, which writes nothing."""
    cache, chosen = file.parent / "unwritten", ScoreColumn(**said)
    with pytest.raises(UsageError) as error:
        import_scores(manifest, cache, file, name, chosen)
    assert not cache.exists()
    return str(error.value)


def test_scores_are_stored_by_id_and_a_second_time_changes_nothing(tmp_path: Path) -> None:
    file, cache = table(tmp_path, GOOD), tmp_path / "cache"
    result = import_scores(MANIFEST, cache, file, "FAST-VQA", trained_on="lsvq")
    assert stored(result) == dict(zip(IDS, np.float32(GOOD).tolist(), strict=True))
    assert (result.name, result.videos, result.written) == ("fast_vqa", 32, 32)
    assert result.trained_on == ["lsvq"] and result.srcc is not None and result.srcc > 0.8
    again = import_scores(MANIFEST, cache, file, "fast_vqa", trained_on="lsvq")
    assert (again.track, again.written) == (result.track, 0)
    assert "nothing was changed" in summary(again)[-2]


@pytest.mark.parametrize("better", ["higher", "lower"])
@pytest.mark.parametrize("labels", ["higher", "lower"])
def test_scores_run_as_the_labels_do(better: str, labels: str, tmp_path: Path) -> None:
    manifest = replace(MANIFEST, better=labels)
    scores = GOOD if better == labels else 100 - GOOD
    file = table(tmp_path, scores)
    result = import_scores(manifest, tmp_path / "cache", file, "model", better=better)
    assert result.srcc is not None and result.srcc > 0.8
    sign = 1 if better == labels else -1
    assert stored(result) == dict(zip(IDS, np.float32(sign * scores).tolist(), strict=True))
    assert result.mirrored == (better != labels)


def test_wrong_direction_is_told_with_the_command_that_corrects_it(tmp_path: Path) -> None:
    result = import_scores(MANIFEST, tmp_path / "cache", table(tmp_path, -GOOD), "niqe")
    (caution,) = [line for line in summary(result) if "caution" in line]
    assert f"vqa-cache rm {result.track}" in caution and caution.endswith("with --better lower")


def test_other_scores_of_a_name_are_refused_and_the_first_stay(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = import_scores(MANIFEST, cache, table(tmp_path, GOOD), "model")
    others: dict[str, dict[str, str]] = {
        "the datasets of opinions": {"trained_on": "lsvq"},
        "mirrored": {"better": "lower"},
        "the file that was imported": {},
    }
    for number, (what, said) in enumerate(others.items()):
        file = table(tmp_path, GOOD + (number == 2))
        with pytest.raises(UsageError, match=f"{what}.* --name, or remove .* vqa-cache rm"):
            import_scores(MANIFEST, cache, file, "MODEL", **said)
    assert stored(first) == dict(zip(IDS, np.float32(GOOD).tolist(), strict=True))


def test_scores_beside_features_of_the_same_name_are_no_features(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    file = arrays(tmp_path, dover=np.column_stack([GOOD, -GOOD]))
    import_blocks(MANIFEST, cache, file, [parse_block("dover=spatial")])
    result = import_scores(MANIFEST, cache, file, "dover", ScoreColumn("1", key="dover"))
    assert stored(result)[IDS[0]] == np.float32(-GOOD[0])
    (chosen,) = choose_tracks(cache, "own", "all", None).spatial
    assert str(chosen) != result.track
    assert result.next == f"vqa-fuse ablate --score dover --dataset own --cache {cache}"


def test_arrays_give_the_mean_over_frames_and_nan_is_no_score(tmp_path: Path) -> None:
    frames = GOOD[:, None, None] + np.array([[[-1.0], [1.0]]])
    frames[3, 1] = np.nan
    file = arrays(tmp_path, niqe=frames)
    result = import_scores(MANIFEST, tmp_path / "cache", file, "niqe", ScoreColumn(key="niqe"))
    assert result.missing == [IDS[3]] and result.videos == 31
    expected = {name: score for name, score in zip(IDS, GOOD, strict=True) if name != IDS[3]}
    assert stored(result) == pytest.approx(expected, abs=1e-5)


def test_array_without_ids_is_in_the_order_of_the_dataset_which_is_told(tmp_path: Path) -> None:
    np.save(tmp_path / "model.npy", GOOD)
    result = import_scores(MANIFEST, tmp_path / "cache", tmp_path / "model.npy", "model")
    assert stored(result) == dict(zip(IDS, np.float32(GOOD).tolist(), strict=True))
    assert any("in their order, from content 00/version 0" in line for line in summary(result))


def test_scores_that_are_the_label_are_told(tmp_path: Path) -> None:
    result = import_scores(MANIFEST, tmp_path / "cache", table(tmp_path, MOS), "model")
    assert any("takes them for the label itself" in line for line in summary(result))
    good = import_scores(MANIFEST, tmp_path / "other", table(tmp_path, GOOD), "model")
    assert not any("label itself" in line for line in summary(good))


def test_figure_of_few_videos_is_withheld(tmp_path: Path) -> None:
    few = replace(MANIFEST, rows=MANIFEST.rows[:19])
    assert import_scores(few, tmp_path / "cache", table(tmp_path, GOOD), "model").srcc is None


def test_scores_that_say_nothing_are_refused(tmp_path: Path) -> None:
    message = refused(table(tmp_path, np.full(32, 0.5)))
    assert "the same score for all 32 videos, 0.5; choose another --score-column" in message
    message = refused(table(tmp_path, np.where(np.arange(32) == 4, 1e39, GOOD)))
    assert f"a score for {IDS[4]} that is beyond all float32" in message
    nobody = replace(MANIFEST, rows=MANIFEST.rows.assign(id=[f"v{n}" for n in range(32)], path=""))
    assert "none of them is a video" in refused(arrays(tmp_path, x=GOOD), manifest=nobody, key="x")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"key": "two"}, "has 2 columns; choose one with --score-column, 0 to 1"),
        ({"key": "two", "column": "2"}, "--score-column 2: 2 goes beyond the 2 columns"),
        ({"key": "two", "column": "0:2"}, "has 2 columns; choose one with --score-column, 0 to 1"),
        ({"key": "mos"}, "array mos of .* is the label by its name"),
        ({"key": "three"}, "--key three: there is no such array"),
        ({"key": "one", "id_column": "x"}, "--id-column x is of tables"),
    ],
)
def test_wrong_choice_of_an_array_is_refused(
    said: dict[str, str], message: str, tmp_path: Path
) -> None:
    file = arrays(tmp_path, one=GOOD, two=np.column_stack([GOOD, -GOOD]), mos=MOS)
    with pytest.raises(UsageError, match=message):
        import_scores(MANIFEST, tmp_path / "cache", file, "model", ScoreColumn(**said))


def test_export_of_a_cache_is_refused(tmp_path: Path) -> None:
    result = import_scores(MANIFEST, tmp_path / "cache", table(tmp_path, GOOD), "model")
    (written,) = export_tracks([TrackPath.parse(Path(result.track))], "npz", tmp_path).tracks
    assert "is what vqa-cache export wrote; import the file" in refused(Path(written.output))


def test_array_of_a_table_is_refused(tmp_path: Path) -> None:
    assert "--key x is of arrays" in refused(table(tmp_path, GOOD), key="x")


@pytest.mark.parametrize(
    ("text", "name"),
    [("DOVER", "dover"), ("FAST-VQA", "fast_vqa"), ("fast_vqa-0123456789", "fast_vqa-0123456789")],
)
def test_names_of_models_are_spelt_as_names_of_tracks(text: str, name: str) -> None:
    assert score_name(text) == name


@pytest.mark.parametrize("text", ["", "2", "---", "3D"])
def test_what_cannot_be_a_name_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="begin it with a letter"):
        score_name(text)


# --- the command ---


@pytest.fixture
def labelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = [f"videos/{n}.mp4,{mos}" for n, mos in enumerate(MOS)]
    Path("own.csv").write_text("\n".join(["path,mos", *rows]))
    rows = [f"/elsewhere/{n}.mp4;{str(score).replace('.', ',')}" for n, score in enumerate(GOOD)]
    Path("dover.csv").write_text("\n".join(["\ufefffile;overall", *rows[:-2], "nobody.mp4;1,5"]))
    return tmp_path


def fuse(*words: object) -> Result:
    return CliRunner().invoke(fuse_command, [*map(str, words)], standalone_mode=False)


@pytest.mark.usefixtures("labelled")
def test_command_tells_what_it_did_and_which_videos_have_no_score() -> None:
    words = ["import-scores", "dover.csv", "--name", "DOVER", "--dataset", "own.csv"]
    result = fuse(*words, "--trained-on", "lsvq")
    assert result.return_value == SOME_FAILED, result.exception
    assert "dover.csv, column overall: 30 of 32 videos" in result.stdout
    assert "the model learnt from opinions of: lsvq" in result.stdout
    assert result.stdout.endswith(
        "next: vqa-fuse train --baseline published:score=dover --dataset own\n"
    )
    assert all(f"no score: videos/{number}.mp4\n" in result.stderr for number in (30, 31))
    assert "in the file, but no video: nobody.mp4" in result.stderr
    document = json.loads(fuse(*words, "--trained-on", "lsvq", "--json").stdout)
    assert document["videos"] == 30 and document["written"] == 0 and len(document["missing"]) == 2


def test_command_that_scores_all_videos_is_done(labelled: Path) -> None:
    rows = [f"{n},{score}" for n, score in enumerate(GOOD)]
    (labelled / "all.csv").write_text("\n".join(["id,score", *rows]))
    result = fuse("import-scores", "all.csv", "--name", "m", "--dataset", "own.csv")
    assert result.return_value == DONE and result.stderr == ""


@pytest.mark.real
def test_scores_of_dover_are_those_of_its_authors(real: Path, tmp_path: Path) -> None:
    words = ["import-scores", real / "features" / "konvid1k.npz", "--key", "dover"]
    words += ["--score-column", 0, "--name", "DOVER", "--dataset", "konvid", "--json"]
    result = fuse(*words, "--root", real / "labels", "--cache", tmp_path)
    document = json.loads(result.stdout)
    assert document["videos"] == 1200 and document["srcc"] == pytest.approx(0.842, abs=0.001)
