"""What a track holds is read back as it was written, or is refused with one message."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_tracks import IDENTITY, features, random_features, same, write

from vqa_twostage.pipeline.cache import track as cached
from vqa_twostage.pipeline.cache import track_index, track_writer, video_table
from vqa_twostage.pipeline.cache.track import open_track
from vqa_twostage.pipeline.cache.track_index import TRAILER
from vqa_twostage.pipeline.cache.track_writer import write_track
from vqa_twostage.pipeline.errors import UsageError


def test_written_features_are_read_back_unchanged(tmp_path: Path) -> None:
    write(tmp_path / "t.h5", a=features(1.5))
    with open_track(tmp_path / "t.h5") as track:
        read = track.read("a")
        assert track.ids == ["a"] and track.identity == IDENTITY
    assert read.arrays["c1/mean"].dtype == np.float16 and (read.arrays["c1/mean"] == 1.5).all()
    assert list(read.frame_index) == [0, 1, 2] and list(read.timestamp) == [0, 0.5, 1]
    assert read.attributes == features().attributes


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20))
def test_ids_may_be_any_text(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    path = tmp_path_factory.mktemp("ids") / "t.h5"
    with write_track(path, IDENTITY, {}) as track:
        track.write(name, features())
    with open_track(path) as track:
        assert track.ids == [name] and name in track


@settings(max_examples=30, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    order=st.randoms(use_true_random=False),
    block=st.integers(1, 200),
    again=st.integers(0, 11),
)
def test_columns_of_many_videos_are_read_in_any_order(
    lengths: list[int],
    order: object,
    block: int,
    again: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("many") / "t.h5"
    videos = {str(row): random_features(row, count) for row, count in enumerate(lengths)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(track_writer, "CHUNK_BYTES", 100)
        patch.setattr(cached, "BLOCK_BYTES", block)
        write(path, **videos)
        replaced = str(again % len(lengths))
        videos[replaced] = random_features(99, 4)
        write(path, **{replaced: videos[replaced]})
        ids = list(videos)
        order.shuffle(ids)  # type: ignore[attr-defined]
        with open_track(path) as track:
            counts = track.row_counts(ids)
            assert counts.tolist() == [len(videos[name].timestamp) for name in ids]
            assert track.dead_rows == lengths[int(replaced)]
            starts = np.cumsum(counts) - counts + np.arange(len(ids))  # one row between the videos
            out = track.empty("features/c5/std", int(counts.sum()) + len(ids))
            track.read_into("features/c5/std", ids, starts, out)
            blocks = track.blocks(ids, 7)
    for name, start, count in zip(ids, starts, counts, strict=True):
        expected = videos[name].arrays["c5/std"].astype(np.float16)  # type: ignore[index]
        assert np.array_equal(out[start : start + count], expected)
        assert not out[start + count].any()
    assert sorted(name for names in blocks for name in names) == sorted(ids)


def test_reading_can_leave_statistics_out(tmp_path: Path) -> None:
    write(tmp_path / "t.h5", a=random_features(1))
    with open_track(tmp_path / "t.h5") as track:
        assert set(track.read("a", without=("grid",)).arrays) == {"c1/mean", "c5/std"}
        assert set(track.array_names) == {"c1/mean", "c5/std", "c5/grid"}
        with pytest.raises(KeyError, match="no video 'b'"):
            track.read("b")


def test_other_programs_read_a_track_by_its_table(tmp_path: Path) -> None:
    videos = {"a": random_features(1, 3), "b": random_features(2, 5)}
    write(tmp_path / "t.h5", **videos)
    with h5py.File(tmp_path / "t.h5") as file:
        assert json.loads(file.attrs["identity"]) == IDENTITY.to_json()
        for row in file["videos"][:]:
            rows = slice(row["first_row"], row["first_row"] + row["rows"])
            given_video = videos[row["id"].decode()]
            assert np.array_equal(file["timestamp"][rows], given_video.timestamp)
            assert np.array_equal(
                file["features/c5/grid"][rows],
                given_video.arrays["c5/grid"].astype(np.float16),  # type: ignore[index]
            )
            assert row["damage"] == b"cut off" and row["source_size"] == row["first_row"] / 3 + 1


def test_reader_beside_a_writer_sees_what_was_committed(tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    with write_track(path, IDENTITY, {}) as writer:
        writer.write("a", random_features(1))
        writer.commit()
        with open_track(path) as reader:
            for number in range(40):
                writer.write(str(number), random_features(number))
                writer.write("a", random_features(number))
                writer.commit()
                assert reader.ids == ["a"] and same(reader.read("a"), random_features(1))
        with open_track(path) as reader:
            assert len(reader) == 41 and same(reader.read("a"), random_features(39))


# --- files that are no tracks, or damaged ones ---


def test_files_that_are_not_tracks_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("no HDF5")
    (tmp_path / "empty.h5").touch()
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = [1]
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file.attrs["format"] = "vqa-features"
        file.create_group("videos/a")
    for name, message in [
        ("missing.h5", "vqa-extract makes it"),
        ("text.h5", "not a feature cache"),
        ("empty.h5", "not a feature cache"),
        ("other.h5", "not a feature cache"),
        ("old.h5", "development version.*extract again into another --cache"),
    ]:
        with (
            pytest.raises(UsageError, match=f"{name}.*{message}"),
            open_track(tmp_path / name),
        ):
            pass


def test_newer_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(track_index, "FORMAT_VERSION", 99)
    write(tmp_path / "t.h5", a=features())
    monkeypatch.undo()
    with (
        pytest.raises(UsageError, match=r"format version 99.*update"),
        open_track(tmp_path / "t.h5"),
    ):
        pass


def with_index(path: Path, **changes: object) -> None:
    """Puts an index with a right checksum, but other contents, into a track: a stranger's."""
    content = path.read_bytes()
    _, size, head, _ = TRAILER.unpack(content[-TRAILER.size :])
    index = content[-TRAILER.size - size : -TRAILER.size]
    document = {**json.loads(index[:head]), **changes}
    changed = json.dumps(document).encode()
    data = changed + index[head:]
    trailer = TRAILER.pack(track_index.MAGIC, len(data), len(changed), track_index.checksum(data))
    path.write_bytes(content[: -TRAILER.size - size] + data + trailer)


@pytest.mark.parametrize(
    "changes",
    [
        {"videos": 10**12},
        {"videos": -1},
        {"rows": 10**15},
        {"rows": "many"},
        {"columns": []},
        {"columns": [{"name": "videos"}]},
        {"columns": None},
        {"identity": {"kind": "spatial"}},
        {"identity": 3},
        {"provenance": []},
        {"format": "another"},
        {"format_version": 2},
    ],
    ids=str,
)
def test_index_of_a_stranger_is_refused(changes: dict[str, object], tmp_path: Path) -> None:
    write(tmp_path / "t.h5", a=features())
    with_index(tmp_path / "t.h5", **changes)
    with pytest.raises(UsageError, match=r"t\.h5"), open_track(tmp_path / "t.h5"):
        pass


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dtype", "O"),
        ("dtype", "V0"),
        ("dtype", "no type"),
        ("shape", [0]),
        ("shape", [10**9, 10**9]),
        ("shape", [2**70]),
        # their product is 1 in 64 bits
        ("shape", [3, 12297829382473034411]),
        ("dtype", "<f8"),
        ("dtype", "S8"),
        ("dtype", ">f2"),
        ("dtype", [["a", "<f2"]]),
        ("name", "c1/std"),
        ("chunk_rows", 0),
        ("chunk_rows", 10**9),
        ("chunks", 10**9),
        ("name", "features/c1/std"),
    ],
)
def test_column_of_a_stranger_is_refused(field: str, value: object, tmp_path: Path) -> None:
    write(tmp_path / "t.h5", a=features())
    with open_track(tmp_path / "t.h5") as track:
        columns = [column.to_json() for column in track.index.all_columns]
    for number in range(len(columns)):
        changed = [dict(column) for column in columns]
        changed[number][field] = value
        if changed == columns:
            continue
        write(tmp_path / f"{number}.h5", a=features())
        with_index(tmp_path / f"{number}.h5", columns=changed)
        with (
            pytest.raises(UsageError, match=rf"{number}\.h5"),
            open_track(tmp_path / f"{number}.h5"),
        ):
            pass


def test_videos_that_share_rows_are_refused(tmp_path: Path) -> None:
    """Or a small file could claim to be an enormous dataset."""
    path = tmp_path / "t.h5"
    write(path, a=features(1.0), b=features(1.0))
    with open_track(path) as track:
        table, column = track._table.copy(), track.index.table
        assert column is not None
        ((place, size),) = column.extents(0, 2)
    table[video_table.ROWS][0] = 6
    table[video_table.CHECKSUM] = video_table.checksums(table)
    content = path.read_bytes()
    path.write_bytes(content[:place] + table.tobytes() + content[place + size :])
    with pytest.raises(UsageError, match=r"t\.h5.*its videos share rows"), open_track(path):
        pass


def test_track_whose_structure_is_damaged_is_not_opened_to_write(tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    write(path, a=features())
    content = path.read_bytes()
    changed = content.replace(b"features", b"feature$")
    _, size, _, _ = TRAILER.unpack(content[-TRAILER.size :])
    end = TRAILER.size + size  # the index stays sound
    path.write_bytes(changed[:-end] + content[-end:])
    with (
        pytest.raises(UsageError, match=r"t\.h5: its HDF5 structure.*vqa-cache repair"),
        write_track(path, IDENTITY, {}),
    ):
        pass
