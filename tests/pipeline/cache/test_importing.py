"""`vqa-cache import` turns feature files into a track, identified by content, and refuses wrong
use.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import h5py
import numpy as np
import pytest
import scipy.io
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_twostage.pipeline.cache import track as cached
from vqa_twostage.pipeline.cache.importing import format_columns, parse_columns
from vqa_twostage.pipeline.cache.layout import load_cached_manifest
from vqa_twostage.pipeline.cache.track_writer import TrackWriter
from vqa_twostage.pipeline.cli_cache import cache_command
from vqa_twostage.pipeline.errors import DONE, SOME_FAILED, UsageError
from vqa_twostage.pipeline.features import VideoAttributes, VideoFeatures
from vqa_twostage.pipeline.identity import TrackIdentity
from vqa_twostage.pipeline.spec import Spec

IDS = ["007", "b", "dir/c.mp4", "ä", "e"]
# of five videos; values that float32 represents exactly
FEATURES = (np.arange(15).reshape(5, 3) * 0.25 + 100).astype(np.float64)
FRAMES = np.arange(30).reshape(5, 2, 3) * 0.5 + 100


@pytest.fixture(autouse=True)
def labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dataset of five videos whose files do not exist."""
    monkeypatch.chdir(tmp_path)
    rows = [f"{video_id},videos/{number}.mp4,{number}" for number, video_id in enumerate(IDS, 1)]
    Path("own.csv").write_text("\n".join(["id,path,mos", *rows]) + "\n", encoding="utf-8")


def command(file: str, *options: str) -> Result:
    arguments = [
        "import",
        file,
        "--dataset",
        "own.csv",
        "--kind",
        "spatial",
        "--name",
        "theirs",
        *options,
    ]
    return CliRunner().invoke(cache_command, arguments, standalone_mode=False)


def imported(file: str, *options: str, code: int = DONE) -> dict[str, Any]:
    result = command(file, "--json", *options)
    if result.exception:
        raise result.exception
    assert result.return_value == code
    return json.loads(result.stdout)


def refused(file: str, *options: str) -> str:
    """The message of a refused import, which leaves no cache behind."""
    with pytest.raises(UsageError) as error:
        imported(file, *options)
    assert not Path("cache").exists()
    return str(error.value)


def stored(document: dict[str, Any]) -> dict[str, np.ndarray]:
    with cached.open_track(Path(document["track"])) as track:
        return {video_id: track.read(video_id).arrays["theirs/mean"] for video_id in track.ids}


def write_mat73(
    path: str, arrays: dict[str, np.ndarray], classes: dict[str, str] | None = None
) -> None:
    """As MATLAB writes it: axes reversed, and a header of 512 bytes before HDF5 begins."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            file[name] = array.T
            file[name].attrs["MATLAB_class"] = np.bytes_((classes or {}).get(name, "double"))
    with open(path, "r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512))


def write_h5(path: str, arrays: dict[str, np.ndarray]) -> None:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array


WRITERS: dict[str, Callable[[str, np.ndarray], None]] = {
    "f.mat": lambda path, array: scipy.io.savemat(path, {"feats": array}),
    "f73.mat": lambda path, array: write_mat73(path, {"feats": array}),
    "f.npy": np.save,
    "f.npz": lambda path, array: np.savez(path, feats=array),
    "f.h5": lambda path, array: write_h5(path, {"feats": array}),
    "f.hdf5": lambda path, array: write_h5(path, {"group/feats": array}),
    "f.csv": lambda path, array: np.savetxt(path, array, delimiter=","),
    "header.csv": lambda path, array: np.savetxt(
        path, array, delimiter=",", header="a,b,c", comments=""
    ),
    "counted.csv": lambda path, array: np.savetxt(
        path, array, delimiter=",", header="0,1,2", comments=""
    ),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_assigns_a_row_to_each_video(name: str) -> None:
    WRITERS[name](name, FEATURES)
    document = imported(name)
    assert {video_id: array.tolist() for video_id, array in stored(document).items()} == {
        video_id: [row.tolist()] for video_id, row in zip(IDS, FEATURES, strict=True)
    }
    assert document["videos"] == document["written"] == 5 and document["columns"] == 3
    assert document["missing"] == document["not_finite"] == [] and document["frames"] == [1, 1]


@pytest.mark.parametrize("name", [name for name in WRITERS if not name.endswith(".csv")])
def test_array_of_three_axes_is_videos_by_frames_by_columns(name: str) -> None:
    WRITERS[name](name, FRAMES)
    document = imported(name)
    assert [array.tolist() for array in stored(document).values()] == [
        FRAMES[IDS.index(i)].tolist() for i in sorted(IDS)
    ]
    with cached.open_track(Path(document["track"])) as track:
        video = track.read("b")
    assert video.frame_index.tolist() == [0, 1] and video.timestamp.tolist() == [0.0, 1.0]


def test_imported_track_records_its_identity_and_source(tmp_path: Path) -> None:
    np.savez("f.npz", feats=FEATURES)
    Path("ids.txt").write_text("\n".join(IDS), encoding="utf-8")
    document = imported(
        str(tmp_path / "f.npz"), "--columns", "1:", "--ids", str(tmp_path / "ids.txt")
    )
    digest = hashlib.sha256(Path("f.npz").read_bytes()).hexdigest()
    path = Path(document["track"])
    assert path.parts[:-1] == ("cache", "own", "imported") and path.name.startswith("theirs-")
    with cached.open_track(path) as track:
        identity, video = track.identity, track.read("b")
    assert identity.rows and identity == TrackIdentity(
        "spatial",
        Spec("theirs"),
        Spec("imported"),
        source=digest,
        key="feats",
        columns="1:3",
        rows=identity.rows,
    )
    assert video.attributes == VideoAttributes(digest, Path("f.npz").stat().st_size)
    assert video.arrays["theirs/mean"].dtype == np.float32 and video.timestamp.tolist() == [0.0]
    with h5py.File(path) as file:
        about = dict(file.attrs)
    assert (
        about["format_version"] == 1
        and about["source file"] == b"f.npz"
        and about["source ids_file"] == b"ids.txt"
    )
    assert about["source columns"] == b"1:3 of 3" and about["version vqa-twostage"]
    assert str(tmp_path) not in str(about) + str(identity)
    assert load_cached_manifest(Path("cache"), "own").rows["id"].tolist() == IDS


def test_repeated_import_changes_nothing() -> None:
    np.savez("f.npz", feats=FEATURES)
    document = imported("f.npz")
    before = {path: path.read_bytes() for path in Path("cache").rglob("*.*")}
    Path("f.npz").rename("renamed.npz")
    again = command("renamed.npz", "--key", "feats", "--columns", "0,1:")
    assert (
        again.return_value == DONE
        and "holds all of that already, nothing was changed" in again.stdout
    )
    assert {path: path.read_bytes() for path in Path("cache").rglob("*.*")} == before
    assert imported("renamed.npz")["track"] == document["track"]


def test_different_content_with_the_same_name_is_another_track() -> None:
    np.save("f.npy", FEATURES)
    first = imported("f.npy")
    np.save("f.npy", FEATURES + 1)
    second = imported("f.npy")
    columns, kind = imported("f.npy", "--columns", "0:2"), imported("f.npy", "--kind", "temporal")
    assert len({document["track"] for document in (first, second, columns, kind)}) == 4
    assert stored(first)["b"].tolist() == [FEATURES[1].tolist()]


def test_interrupted_import_is_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    np.save("f.npy", FEATURES)
    write, calls = TrackWriter.write, iter(range(9))

    def interrupted_write(self: TrackWriter, video_id: str, features: VideoFeatures) -> None:
        if next(calls) == 2:
            raise KeyboardInterrupt
        write(self, video_id, features)

    monkeypatch.setattr(TrackWriter, "write", interrupted_write)
    with pytest.raises(click.Abort):  # click turns Ctrl-C into this
        imported("f.npy")
    monkeypatch.setattr(TrackWriter, "write", write)
    document = imported("f.npy")
    assert document["written"] == 3 and len(stored(document)) == 5


@pytest.mark.parametrize("name", ["ids.txt", "ids.csv", "header.csv"])
def test_ids_assign_rows_to_videos(name: str) -> None:
    order = ["e", "ä", "007"]
    lines = [f"{video_id},1" for video_id in order] if name.endswith(".csv") else order
    Path(name).write_text(
        "\n".join((["name,mos"] if name == "header.csv" else []) + lines) + "\n\n", encoding="utf-8"
    )
    np.save("f.npy", FEATURES[:3])
    document = imported("f.npy", "--ids", name, code=SOME_FAILED)
    assert {video_id: array.tolist() for video_id, array in stored(document).items()} == {
        video_id: [row.tolist()] for video_id, row in zip(order, FEATURES[:3], strict=True)
    }
    assert document["missing"] == ["b", "dir/c.mp4"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "007\nb\nnone\nnobody\ne\n",
            "2 of its 5 ids are of no video of own: none, nobody; ids of own look like 007, b",
        ),
        ("007\nb\nb\nä\ne\n", "names b more than once"),
        ("007\n\nb\nä\ne\n", "line 2 is empty"),
        ("\n", "names no video"),
    ],
)
def test_wrong_ids_are_refused(text: str, message: str) -> None:
    np.save("f.npy", FEATURES)
    Path("ids.txt").write_text(text, encoding="utf-8")
    assert message in refused("f.npy", "--ids", "ids.txt")


def test_unreadable_ids_are_refused() -> None:
    np.save("f.npy", FEATURES)
    for name in ("nowhere.txt", "f.npy"):
        assert f"--ids {name} cannot be read" in refused("f.npy", "--ids", name)


@pytest.mark.parametrize("group", ["", "niqe/"])
def test_arrays_named_by_ids_are_assigned_to_their_videos(group: str) -> None:
    arrays = {"007": np.arange(4.0), "dir/c.mp4": np.ones((2, 1)), "a stranger's": np.zeros(3)}
    write_h5("f.h5", {group + name: array for name, array in arrays.items()})
    options = ["--key", "niqe"] if group else []
    document = imported("f.h5", *options, code=SOME_FAILED)
    assert {name: array.tolist() for name, array in stored(document).items()} == {
        "007": [[0], [1], [2], [3]],
        "dir/c.mp4": [[1], [1]],
    }
    assert document["missing"] == ["b", "ä", "e"] and document["unknown"] == ["a stranger's"]
    assert document["frames"] == [2, 4]
    messages = command("f.h5", *options).stderr
    assert "no features: ä" in messages and "in the file, but no video: a stranger's" in messages


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((2, 2)), "numbers of columns differ, 1 for 007, 2 for b"),
        (np.ones((0,)), "video b has 0; give frames"),
        (np.float32(1), "video b has a single value"),
        (np.array([b"x"]), "video b has 1 (text, not plain numbers)"),
    ],
)
def test_unsuitable_arrays_of_videos_are_refused(array: np.ndarray, message: str) -> None:
    write_h5("f.h5", {"007": np.arange(4.0), "b": array})
    assert message in refused("f.h5")


def test_ids_option_is_refused_for_arrays_named_by_ids() -> None:
    write_h5("f.h5", {"007": np.arange(4.0)})
    assert "named by their videos already; leave --ids out" in refused("f.h5", "--ids", "own.csv")


def test_non_finite_values_are_kept_and_reported_by_column() -> None:
    features = FEATURES.copy()
    features[[0, 3], 1], features[2, 2] = np.nan, 1e300  # too large for float32
    np.save("f.npy", features)
    document = imported("f.npy", "--columns", "1:")
    assert document["not_finite"] == [{"column": 1, "videos": 2}, {"column": 2, "videos": 1}]
    assert np.isnan(stored(document)["007"][0, 0]) and np.isinf(stored(document)["dir/c.mp4"][0, 1])
    assert "column 1 of 2 videos" in command("f.npy", "--columns", "1:").stdout
    verified = CliRunner().invoke(cache_command, ["verify", "cache"], standalone_mode=False)
    assert verified.return_value == DONE and "sound" in verified.stdout


def test_empty_cells_of_a_table_are_nan() -> None:
    Path("f.csv").write_text("x,y\n1.5,2\n,3\nNA,4\ninf,5\n2,6\n")
    assert imported("f.csv")["not_finite"] == [{"column": 0, "videos": 3}]


@given(st.data())
def test_columns_option_selects_the_listed_columns(data: st.DataObject) -> None:
    width = data.draw(st.integers(1, 60))
    selected = data.draw(st.lists(st.integers(0, width - 1), min_size=1, unique=True))
    assert parse_columns(format_columns(selected), width) == selected
    assert parse_columns(", ".join(map(str, selected)), width) == selected
    start, stop = min(selected), max(selected) + 1
    assert parse_columns(f"{start}:", width) == list(range(start, width))
    assert parse_columns(f":{stop}", width) == list(range(stop))


@given(st.text("0123456789:,- x", max_size=12), st.integers(1, 70))
def test_columns_option_selects_existing_columns_or_is_an_error(text: str, width: int) -> None:
    try:
        selected = parse_columns(text, width)
    except UsageError:
        pass
    else:
        assert (
            selected and len(set(selected)) == len(selected) and set(selected) <= set(range(width))
        )


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("2:1", "2:1 is empty or the wrong way round"),
        ("1:1", "1:1 is empty or the wrong way round"),
        ("0:4", "0:4 goes beyond the 3 columns"),
        ("3", "3 goes beyond the 3 columns"),
        ("0:2,1", "column 1 twice"),
        ("0,,1", "'' is no range"),
        ("-1", "'-1' is no range"),
        ("9" * 5000, "is no range"),
        (
            "a:b",
            "'a:b' is no range; give ranges of columns 0 to 2, the end not included, such as 0:3 "
            "or 2",
        ),
    ],
)
def test_wrong_columns_are_refused(columns: str, message: str) -> None:
    np.save("f.npy", FEATURES)
    assert message in refused("f.npy", "--columns", columns)


@pytest.mark.parametrize("name", ["Theirs", "1st", "a-b", "a/b", "../a", "", "a:b=1"])
def test_invalid_extractor_name_is_refused(name: str) -> None:
    np.save("f.npy", FEATURES)
    assert "small letters, digits and _" in refused("f.npy", "--name", name)


@pytest.mark.parametrize("name", ["f.mat", "f73.mat", "f.npy", "f.npz", "f.csv", "f.h5"])
def test_wrong_number_of_rows_is_refused_with_both_numbers(name: str) -> None:
    WRITERS[name](name, FEATURES[:4])
    assert "4 rows, and own has 5 videos" in (message := refused(name)) and "--ids FILE" in message


def test_transposed_matrix_is_refused() -> None:
    np.save("f.npy", FEATURES.T)
    assert "another axis has 5: is it transposed?" in refused("f.npy")


NAMED: dict[str, Callable[[str, dict[str, np.ndarray]], None]] = {
    "f.mat": scipy.io.savemat,
    "f73.mat": write_mat73,
    "f.npz": lambda path, arrays: np.savez(path, **arrays),
    "f.h5": write_h5,
}


@pytest.mark.parametrize("name", NAMED)
def test_file_with_several_suitable_arrays_needs_a_key(name: str) -> None:
    arrays = {
        "one": FEATURES,
        "two": FEATURES + 1,
        "niqe": FEATURES[:, :1],
        "more": np.ones((7, 2)),
    }
    NAMED[name](name, arrays)
    message = refused(name)
    assert "choose one with --key: one, two" in message and "more: 7 x 2" in message
    assert "--key three: there is no such array" in refused(name, "--key", "three")
    assert stored(imported(name, "--key", "two"))["b"].tolist() == [(FEATURES[1] + 1).tolist()]
    assert stored(imported(name, "--key", "niqe"))["b"].tolist() == [[FEATURES[1, 0]]]


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("label", ["mos", "DMOS", "scores", "realigned_MOS", "mos_std"])
def test_array_that_is_the_label_by_its_name_is_refused(name: str, label: str) -> None:
    NAMED[name](name, {label: FEATURES[:, :1], "feats": FEATURES})
    assert f"array {label} of {name} is the label by its name" in refused(name, "--key", label)
    assert imported(name)["source"]["key"] == "feats"


@pytest.mark.parametrize(
    "label", ["mos", "MOS", "score", "Mean MOS", "mos (0-100)", "SOS", "opinion", "ground-truth"]
)
def test_column_that_is_the_label_by_its_name_is_refused(label: str) -> None:
    Path("f.csv").write_text(f"sharp,{label},motion\n" + "3,1,2\n" * 5)
    message = refused("f.csv")
    assert f"column 1 of f.csv is the label by its name, {label!r}" in message
    assert "leave it out with --columns 0:1,2:3" in message
    assert imported("f.csv", "--columns", "0:1,2:3")["columns"] == 2


@pytest.mark.parametrize("name", ["score_of_niqe", "mosaic", "cosmos", "labelled", "dover"])
def test_column_with_another_name_is_a_feature(name: str) -> None:
    Path("f.csv").write_text(f"sharp,{name}\n" + "3,1\n" * 5)
    assert imported("f.csv")["columns"] == 2


@pytest.mark.parametrize("name", NAMED)
def test_only_suitable_matrix_needs_no_key_and_labels_are_never_selected(name: str) -> None:
    labels = {"scores": FEATURES[:, :1], "more": np.ones((7, 2))}
    NAMED[name](name, labels)
    assert "no array that can be the features. own has 5 videos" in (message := refused(name))
    assert "scores: 5 x 1" in message and "--key" in message
    NAMED[name](name, {**labels, "feats": FEATURES})
    assert imported(name)["source"]["key"] == "feats"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (np.array([["a"]] * 5, dtype=object), "cell"),
        ({"x": FEATURES}, "struct"),
        (np.array(["text"] * 5), "char"),
        (FEATURES + 1j, "complex"),
        (scipy.sparse.csc_array(FEATURES), "sparse"),
    ],
)
def test_non_numeric_matlab_values_are_refused(value: Any, problem: str) -> None:
    scipy.io.savemat("f.mat", {"feats": value})
    assert f"({problem}, not plain numbers). Only plain real numbers are read" in refused(
        "f.mat", "--key", "feats"
    )


def test_non_numeric_matlab_7_3_values_are_refused() -> None:
    pair = np.zeros((5, 3), [("real", "f8"), ("imag", "f8")])
    for array, kind, problem in [
        (FEATURES.astype(np.uint16), "char", "char"),
        (pair, "double", "complex or records"),
    ]:
        write_mat73("f.mat", {"feats": array}, {"feats": kind})
        assert f"({problem}, not plain numbers)" in refused("f.mat")


def test_python_objects_are_never_unpickled() -> None:
    objects = np.array([[print] * 3] * 5)
    np.save("f.npy", objects, allow_pickle=True)
    np.savez("f.npz", feats=objects)
    np.save("text.npy", np.array([["a"]] * 5))
    for name, problem in [
        ("f.npy", "Python objects"),
        ("f.npz", "Python objects"),
        ("text.npy", "text"),
    ]:
        assert (
            problem in (message := refused(name)) and "Only plain real numbers are read" in message
        )


@pytest.mark.parametrize("link", ["external", "soft", "virtual", "outside"])
def test_file_with_links_to_other_files_is_refused(link: str) -> None:
    write_h5("secret.h5", {"x": FEATURES})
    with h5py.File("f.h5", "w") as file:
        if link == "external":
            file["deep/feats"] = h5py.ExternalLink("secret.h5", "/x")
        elif link == "soft":
            file["x"], file["feats"] = FEATURES, h5py.SoftLink("/x")
        elif link == "virtual":
            layout = h5py.VirtualLayout((5, 3), "f8")
            layout[...] = h5py.VirtualSource("secret.h5", "x", (5, 3))
            file.create_virtual_dataset("feats", layout)
        else:
            file.create_dataset("feats", (5, 3), "f8", external=[("raw", 0, 120)])
    assert "refers to other files is refused" in refused("f.h5")


def test_group_that_contains_itself_does_not_loop() -> None:
    with h5py.File("f.h5", "w") as file:
        file["group/feats"] = FEATURES
        file["group/again"] = file["group"]
    assert imported("f.h5")["source"]["key"] == "group/feats"


@pytest.mark.parametrize("name", ["f.mat", "f73.mat", "f.npy", "f.npz", "f.h5"])
@pytest.mark.parametrize("left", [0, 10, 200, 0.5])
def test_damaged_file_is_refused(name: str, left: float) -> None:
    WRITERS[name](name, FEATURES)
    whole = Path(name).read_bytes()
    Path(name).write_bytes(whole[: int(left * len(whole)) if left == 0.5 else int(left)])
    assert name in refused(name)


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(["f.mat", "f73.mat", "f.npy", "f.npz", "f.h5", "f.csv"]), st.data())
def test_corrupted_bytes_never_cause_a_traceback(name: str, data: st.DataObject) -> None:
    WRITERS[name](name, FEATURES)
    whole = bytearray(Path(name).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, min(len(whole), 600) - 1))] = data.draw(st.integers(0, 255))
    Path(name).write_bytes(whole)
    with suppress(UsageError):
        imported(name)


def test_unsuitable_files_are_refused() -> None:
    Path("f.txt").write_text("1 2 3")
    Path("folder.mat").mkdir()
    write_h5("h5py.mat", {"feats": FEATURES})
    Path("empty.csv").write_text("")
    Path("ragged.csv").write_text("1,2\n3,4\n5\n6,7\n8,9\n")
    Path("words.csv").write_text("1,2\n3,4\n5,good\n6,7\n8,9\n")
    for name, message in [
        (
            "f.txt",
            "not a known kind of feature file; give one of .mat, .npy, .npz, .csv, .h5, .hdf5",
        ),
        ("folder.mat", "holds no .npy and no .npz file"),
        ("nowhere.mat", "does not exist"),
        ("h5py.mat", "is HDF5 but was not written by MATLAB; rename it to .h5"),
        ("empty.csv", "is empty"),
        ("ragged.csv", "line 3 has 1 columns, the first has 2"),
        ("words.csv", "line 3, column 1 (from 0): 'good' is not a number"),
    ]:
        assert message in refused(name)
    np.save("f.npy", FEATURES)
    assert "holds one array, which has no name; leave --key out" in refused("f.npy", "--key", "x")


def test_column_of_ids_or_row_numbers_is_refused_as_a_feature() -> None:
    Path("pandas.csv").write_text(",0,1\n" + "".join(f"{row},{row * 0.3},5\n" for row in range(5)))
    assert "column 0 of pandas.csv is the numbers of the rows" in refused("pandas.csv")
    Path("own.csv").write_text(
        "id,path,mos\n" + "".join(f"33{row}07,{row}.mp4,3\n" for row in (4, 2, 3))
    )
    np.save("f.npy", [[33407, 0.1], [33207, 0.2], [33307, 0.3]])
    assert "the ids of the videos, not a feature; leave it out with --columns 1:" in refused(
        "f.npy"
    )
    assert imported("f.npy", "--columns", "1:")["columns"] == 1


def test_known_dataset_without_its_labels_gives_its_usual_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("VQA_DATA", raising=False)
    np.save("f.npy", FEATURES)
    assert "--root is not given" in refused("f.npy", "--dataset", "konvid")


def test_import_prints_the_next_command() -> None:
    np.save("f.npy", FEATURES)
    said = command("f.npy").stdout
    assert "next: vqa-fuse train --dataset own; temporal features, where there are any" in said
    assert "vqa-cache import FILE --dataset own --kind temporal" in said
    after = command("f.npy", "--kind", "temporal", "--name", "motion").stdout
    (spatial,), (temporal,) = (
        Path("cache/own/imported").glob("theirs*"),
        Path("cache/own/imported").glob("motion*"),
    )
    assert (
        f"next: vqa-fuse train --dataset own --spatial {spatial.stem} --temporal {temporal.stem}\n"
        in after
    )
    assert "taken to be the videos of own in their order, from 007 to e" in after


@pytest.mark.long
@pytest.mark.real
def test_videval_features_of_konvid_are_imported(
    real: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, ids = (
        real / "features" / "KONVID_1K_VIDEVAL_feats.mat",
        real / "features" / "KONVID_1K_metadata.csv",
    )
    konvid = ["--dataset", "konvid", "--root", str(real / "labels"), "--ids", str(ids)]
    motion = imported(
        str(file), *konvid, "--kind", "temporal", "--key", "feats_mat", "--columns", "30:35,51:54"
    )
    with monkeypatch.context() as patch:
        patch.setattr(TrackWriter, "write", lambda *_: None)  # once is enough
        rest = imported(str(file), *konvid, "--columns", "0:30,35:51,54:60")
    assert motion["videos"] == rest["videos"] == 1200 and (motion["columns"], rest["columns"]) == (
        8,
        52,
    )
    assert motion["not_finite"] == [] and rest["not_finite"] == [{"column": 20, "videos": 2}]
    matrix = scipy.io.loadmat(file)["feats_mat"].astype(np.float32)
    row = [line.partition(",")[0] for line in ids.read_text().splitlines()[1:]].index("10053703034")
    with cached.open_track(Path(motion["track"])) as track:
        assert track.read("10053703034").arrays["theirs/mean"].tolist() == [
            [*matrix[row, 30:35], *matrix[row, 51:54]]
        ]


@pytest.mark.long
@pytest.mark.real
def test_per_frame_niqe_of_konvid_is_imported(real: Path) -> None:
    file = real / "features" / "KONVID_1K_perframe_NIQE.h5"
    document = imported(
        str(file), "--dataset", "konvid", "--root", str(real / "labels"), code=SOME_FAILED
    )
    assert (
        document["videos"] == 959 and len(document["missing"]) == 241 and document["unknown"] == []
    )
    assert document["frames"] == [181, 240] and document["columns"] == 1
    with h5py.File(file) as source, cached.open_track(Path(document["track"])) as track:
        assert (
            track.read("10008004183").arrays["theirs/mean"][:, 0].tolist()
            == source["10008004183"][()].tolist()
        )


@pytest.mark.real
def test_features_of_cvd2014_are_imported_and_its_file_without_features_is_refused(
    real: Path,
) -> None:
    with h5py.File(real / "features" / "CVD2014info.mat") as info:
        names = ["".join(map(chr, info[name][:, 0])) for name in info["video_names"][0]]
        rows = [f"{name},{mos}" for name, mos in zip(names, info["scores"][0], strict=True)]
    Path("own.csv").write_text("\n".join(["path,mos", *rows]) + "\n")
    message = refused(str(real / "features" / "CVD2014info.mat"))
    assert (
        "no array that can be the features. own has 234 videos" in message
        and "scores: 234 x 1" in message
    )
    document = imported(str(real / "features" / "CVD2014_ResNet-50_feature.mat"))
    assert (document["videos"], document["columns"], document["source"]["key"]) == (
        234,
        4096,
        "features",
    )
