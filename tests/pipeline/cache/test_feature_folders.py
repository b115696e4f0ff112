"""`vqa-cache import FOLDER`: a file of features for each video becomes a track, and what is wrong
with one of thousands of files is said before anything is written.
"""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_twostage.pipeline.cache.feature_folders import ReadAtEachLook
from vqa_twostage.pipeline.cache.track import open_track
from vqa_twostage.pipeline.cli_cache import cache_command
from vqa_twostage.pipeline.errors import DONE, SOME_FAILED, UsageError

VIDEOS = {"a": "x/a.mp4", "b": "x/b.mp4", "c": "y/c.mov"}
ROWS = {"a": 2, "b": 3, "c": 1}
FEATURES = {name: np.arange(4.0 * rows).reshape(rows, 4) for name, rows in ROWS.items()}
FOLDER = Path("features")


@pytest.fixture(autouse=True)
def labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dataset of three videos whose files do not exist."""
    monkeypatch.chdir(tmp_path)
    write_labels(VIDEOS)
    FOLDER.mkdir()


def write_labels(videos: dict[str, str]) -> None:
    rows = [f"{name},{path},{mos}" for mos, (name, path) in enumerate(videos.items(), 1)]
    Path("own.csv").write_text("\n".join(["id,path,mos", *rows]) + "\n", encoding="utf-8")


def imported(*options: str, folder: Path = FOLDER, code: int = DONE) -> dict[str, Any]:
    words = ["import", str(folder), "--dataset", "own.csv", "--kind", "spatial", "--name", "theirs"]
    result = CliRunner().invoke(cache_command, [*words, "--json", *options], standalone_mode=False)
    if result.exception:
        raise result.exception
    assert result.return_value == code
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def refused(*options: str, folder: Path = FOLDER) -> str:
    with pytest.raises(UsageError) as error:
        imported(*options, folder=folder)
    assert not Path("cache").exists()
    return str(error.value)


def stored(document: dict[str, Any]) -> dict[str, np.ndarray]:
    with open_track(Path(document["track"])) as track:
        return {name: track.read(name).arrays["theirs/mean"] for name in track.ids}


def save(name: str, array: np.ndarray) -> None:
    path = FOLDER / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npz":
        np.savez(path, feats=array)
    else:
        np.save(path, array)


@pytest.mark.parametrize(
    "names",
    [
        ["a.npy", "b.npy", "c.npy"],
        ["a.mp4.npy", "b.mp4.npy", "c.mov.npy"],
        ["x/a.npy", "x/b.npy", "y/c.npy"],
        ["a.npz", "b.npz", "c.npz"],
        ["A.npy", "b.npz", "sub/c.npy"],
    ],
)
def test_each_file_becomes_the_features_of_its_video(names: list[str]) -> None:
    for name, array in zip(names, FEATURES.values(), strict=True):
        save(name, array)
    document = imported()
    found = stored(document)
    assert {name: array.tolist() for name, array in found.items()} == {
        name: array.tolist() for name, array in FEATURES.items()
    }
    assert (document["frames"], document["columns"], document["missing"]) == ([1, 3], 4, [])
    assert document["source"]["file"] == "features"


def test_array_of_one_axis_is_one_frame() -> None:
    for name in VIDEOS:
        save(f"{name}.npy", np.array([1.0, 2.0, 3.0]))
    assert all(array.tolist() == [[1, 2, 3]] for array in stored(imported()).values())


def test_files_of_one_name_in_several_folders_are_told_apart_as_the_videos_are() -> None:
    write_labels({"one": "data/x/a.mp4", "two": "data/y/a.mp4"})
    save("x/a.npy", np.zeros((2, 4)))
    save("y/a.npy", np.ones((2, 4)))
    found = stored(imported())
    assert found["one"].max() == 0 and found["two"].min() == 1


def test_missing_and_unknown_files_are_named() -> None:
    save("a.npy", FEATURES["a"])
    save("stranger.npy", FEATURES["a"])
    (FOLDER / "log.txt").write_text("not an array")
    (FOLDER / "._a.npy").write_bytes(b"what an archive of macOS leaves")
    document = imported(code=SOME_FAILED)
    assert (document["missing"], document["unknown"]) == (["b", "c"], ["stranger"])


def test_repeated_import_changes_nothing_and_another_content_is_another_track() -> None:
    for name, array in FEATURES.items():
        save(f"{name}.npy", array)
    first = imported()
    again = imported()
    assert (again["track"], again["written"]) == (first["track"], 0)
    save("c.npy", FEATURES["c"] + 1)
    assert imported()["track"] != first["track"]


def test_not_finite_values_are_kept_and_counted() -> None:
    for name, array in FEATURES.items():
        save(f"{name}.npy", np.where(array == array[0, 2], np.nan, array))
    assert imported()["not_finite"] == [{"column": 2, "videos": 3}]


def test_columns_are_chosen_and_float16_is_read() -> None:
    for name, array in FEATURES.items():
        save(f"{name}.npy", array.astype(">f2"))
    found = stored(imported("--columns", "1:3"))
    assert found["b"].tolist() == FEATURES["b"][:, 1:3].tolist()


def several(**arrays: np.ndarray) -> None:
    for name in VIDEOS:
        np.savez(FOLDER / f"{name}.npz", **arrays)


def test_array_of_an_npz_is_chosen_where_only_one_can_be_meant() -> None:
    several(mos=np.array([3.5]), feats=np.ones((2, 4)), fps=np.array(25.0))
    document = imported()
    assert document["source"]["key"] == "feats" and stored(document)["a"].shape == (2, 4)


@pytest.mark.parametrize("key", ["mos", "score"])
def test_label_beside_the_features_is_refused(key: str) -> None:
    several(**{key: np.array([3.5]), "feats": np.ones((2, 4))})
    assert f"array {key} of features is the label by its name" in refused("--key", key)


def test_folder_that_is_called_as_labels_and_holds_one_number_a_video_is_refused() -> None:
    FOLDER.rename("mos")
    for name in VIDEOS:
        np.save(Path("mos") / f"{name}.npy", np.array([2.5]))
    assert "mos is the label by its name" in refused(folder=Path("mos"))


def test_several_arrays_need_a_key_that_every_file_has() -> None:
    several(c3=np.ones((2, 4)), c4=np.ones((2, 4)))
    message = refused()
    assert "several arrays fit; choose one with --key" in message and "c3: 2 x 4" in message
    np.savez(FOLDER / "b.npz", c3=np.ones((2, 4)))
    assert "b.npz has no array c4" in refused("--key", "c4")
    assert stored(imported("--key", "c3"))["b"].shape == (2, 4)


def pickled() -> None:
    np.save(FOLDER / "b.npy", np.array([{}], object), allow_pickle=True)


def shortened(name: str) -> Callable[[], None]:
    def write() -> None:
        path = FOLDER / name
        save(name, np.random.default_rng(0).normal(size=(50, 4)))
        path.write_bytes(path.read_bytes()[:-90])

    return write


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda: save("b.npy", np.ones((3, 5))), "columns differ, 4 in a.npy, 5 in b.npy"),
        (lambda: save("b.npy", np.ones((3, 2, 2, 4))), "b.npy is 3 x 2 x 2 x 4; of each video"),
        (lambda: save("b.npy", np.ones((0, 4))), "b.npy is 0 x 4; of each video"),
        (lambda: save("b.npy", np.array(3.0)), "b.npy is a single value; of each video"),
        (lambda: save("b.npy", np.array([["x"] * 4])), "(text, not plain numbers)"),
        (pickled, "b.npy is 1 (Python objects, not plain numbers). Only plain real numbers"),
        (shortened("b.npy"), "b.npy is shorter than its header says"),
        (lambda: (FOLDER / "b.npy").write_bytes(b"no array"), "b.npy cannot be read as .npy"),
        (lambda: (FOLDER / "b.npy").write_bytes(b""), "b.npy cannot be read as .npy"),
        (lambda: save("b.npz", np.ones((2, 4))), "has a .npy and a .npz of b"),
    ],
)
def test_one_wrong_file_is_named_before_anything_is_written(
    spoil: Callable[[], Any], message: str
) -> None:
    for name, array in FEATURES.items():
        save(f"{name}.npy", array)
    spoil()
    assert message in refused()


def test_damaged_npz_is_named_before_anything_is_written() -> None:
    for name, array in FEATURES.items():
        save(f"{name}.npz", array)
    shortened("b.npz")()
    assert "b.npz cannot be read as .npz" in refused()


def test_folder_without_arrays_says_what_it_holds_instead() -> None:
    (FOLDER / "a.pt").write_bytes(b"")
    assert "features holds no .npy and no .npz file, but 1 of .pt; give a folder" in refused()


def test_options_that_cannot_be_meant_are_refused() -> None:
    for name, array in FEATURES.items():
        save(f"{name}.npy", array)
    Path("ids.txt").write_text("a\nb\nc\n")
    assert "named by their videos already" in refused("--ids", "ids.txt")
    assert "a .npy holds one array, which has no name" in refused("--key", "feats")
    save("a.npy", np.ones((1, 4)))
    for path in FOLDER.iterdir():
        path.rename(path.with_name(f"not-{path.name}"))
    assert "none of them is a video of the dataset" in refused()


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["b.npy", "b.npz"]), st.data())
def test_corrupted_bytes_never_cause_a_traceback(name: str, data: st.DataObject) -> None:
    for path in FOLDER.iterdir():
        path.unlink()
    for video in ("a", "c"):
        save(f"{video}.npy", FEATURES[video])
    save(name, FEATURES["b"])
    whole = bytearray((FOLDER / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    (FOLDER / name).write_bytes(whole)
    with suppress(UsageError):
        imported()


def test_memory_does_not_grow_with_the_number_of_files() -> None:
    count, rows, width = 60, 64, 256
    names = {f"v{number}": f"v{number}.mp4" for number in range(count)}
    write_labels(names)
    for name in names:
        save(f"{name}.npy", np.random.default_rng(0).normal(size=(rows, width)))
    tracemalloc.start()
    document = imported()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # a commit holds at most 16 MiB of videos and a copy; all files are 64 KiB x 60 as float32
    assert document["videos"] == count
    assert most < 40 << 20


def test_what_is_read_at_each_look_is_not_kept() -> None:
    looks: list[str] = []

    def read(key: str) -> str:
        looks.append(key)
        return key.upper()

    found = ReadAtEachLook(["a", "b"], read)
    assert list(found.values()) == ["A", "B"] and len(found) == 2 and "c" not in found
    assert found["a"] == "A" and looks == ["a", "b", "a"]
    with pytest.raises(KeyError):
        found["c"]
