"""What a listing says of files at addresses, in one request; what is wrong is one message."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from s3_server import KEY, SECRET, S3Service

from vqa_twostage.pipeline import remote_files
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.remote_files import (
    RemoteFile,
    RemoteRoot,
    files_at,
    files_named,
    opened,
    root_of,
)

EACH_CASE = settings(deadline=None)


@pytest.fixture
def memory() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    yield system
    system.rm("/", recursive=True) if system.ls("/") else None


def remote(address: str) -> RemoteRoot:
    root = root_of(address)
    assert isinstance(root, RemoteRoot)
    return root


def test_listing_tells_size_and_time_of_each_file_in_one_request(s3: S3Service) -> None:
    s3.put("listed", {f"d/{n // 10}/{n}.mp4": b"x" * n for n in range(40)} | {"other/x": b""})
    root = remote("s3://listed/d/")
    assert len(s3.asked) == 1
    assert sorted(root.names()) == sorted(f"{n // 10}/{n}.mp4" for n in range(40))
    file = root / "1/12.mp4"
    assert isinstance(file, RemoteFile)
    assert (file.size, file.suffix, str(file)) == (12, ".mp4", "s3://listed/d/1/12.mp4")
    assert abs(file.mtime_ns / 1e9 - time.time()) < 600
    assert not (root / "1/none.mp4").is_file()
    assert len(s3.asked) == 1


def test_listing_is_never_of_the_past(s3: S3Service) -> None:
    s3.put("anew", {"d/a.mp4": b"1"})
    assert remote("s3://anew/d").names() == ["a.mp4"]
    s3.put("anew", {"d/b.mp4": b"22", "d/a.mp4": b"333"})
    root = remote("s3://anew/d")
    assert sorted(root.names()) == ["a.mp4", "b.mp4"]
    assert {file.size for file in root.files.values()} == {2, 3}


def test_mark_of_an_empty_folder_is_no_file(s3: S3Service) -> None:
    s3.put("marked", {"d/sub/": b"", "d/a.mp4": b"1"})
    assert remote("s3://marked/d").names() == ["a.mp4"]


def test_folder_whose_name_only_begins_so_is_another(s3: S3Service) -> None:
    s3.put("alike", {"d/a.mp4": b"1", "d2/b.mp4": b"1"})
    assert remote("s3://alike/d").names() == ["a.mp4"]


def test_addresses_of_a_table_are_asked_for_folder_by_folder(s3: S3Service) -> None:
    s3.put("table", {f"{folder}/{n}.mp4": b"x" for folder in "ab" for n in range(20)})
    wanted = [f"s3://table/{folder}/{n}.mp4" for folder in "ab" for n in range(21)]
    found = files_at([*wanted, "s3://table/none/x.mp4"], "d.csv")
    assert [*found] == [name for name in wanted if not name.endswith("/20.mp4")]
    assert len(s3.asked) <= 6  # three folders, whatever is asked of one that is not there


def test_files_of_a_memory_file_system_are_found(memory: Any) -> None:
    memory.pipe({"/videos/a.mp4": b"1", "/videos/sub/b.mp4": b"22", "/videos/.hidden": b""})
    root = remote("memory://videos")
    assert sorted(root.names()) == [".hidden", "a.mp4", "sub/b.mp4"]
    assert [file.name for file in files_named("memory://videos", "x")] == ["a.mp4", "b.mp4"]
    assert [file.name for file in files_named("memory://videos/*.mp4", "x")] == ["a.mp4"]
    assert [file.name for file in files_named("memory://videos/**/*.mp4", "x")] == [
        "a.mp4",
        "b.mp4",
    ]
    assert [file.size for file in files_named("memory://videos/sub/b.mp4", "x")] == [2]


def test_file_that_is_written_anew_has_another_time(memory: Any) -> None:
    memory.pipe_file("/videos/a.mp4", b"1")
    before = remote("memory://videos").files["memory://videos/a.mp4"]
    time.sleep(0.01)
    memory.pipe_file("/videos/a.mp4", b"2")
    assert remote("memory://videos").files["memory://videos/a.mp4"] != before


def test_address_of_this_machine_is_its_folder(tmp_path: Path) -> None:
    assert root_of(f"file://{tmp_path}") == tmp_path
    assert root_of(str(tmp_path)) == root_of(tmp_path) == tmp_path


def test_bucket_that_is_not_there_is_one_message(s3: S3Service) -> None:
    with pytest.raises(
        UsageError, match=r"^--root s3://nobody/d cannot be listed: there is nothin"
    ):
        root_of("s3://nobody/d")
    with pytest.raises(UsageError, match=r"^d\.csv: s3://nobody/d/ cannot be listed: there is n"):
        files_at(["s3://nobody/d/a.mp4"], "d.csv")


def test_folder_that_is_empty_or_a_file_is_one_message(s3: S3Service) -> None:
    s3.put("there", {"d/a.mp4": b"1"})
    with pytest.raises(UsageError, match=r"s3://there/e holds no file, or does not exist"):
        root_of("s3://there/e")
    with pytest.raises(UsageError, match=r"s3://there/d/a\.mp4 is a file; give the folder"):
        root_of("s3://there/d/a.mp4")
    with pytest.raises(UsageError, match=r"^the video s3://there/e: there is no such file"):
        files_named("s3://there/e", "the video")


def test_want_of_permission_is_one_message(s3: S3Service) -> None:
    s3.put("closed", {"d/a.mp4": b"1"})
    s3.refused = {"closed"}
    with pytest.raises(UsageError, match=r"s3://closed/d cannot be listed: no permission; check"):
        root_of("s3://closed/d")


def test_want_of_credentials_is_one_message(s3: S3Service, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_") and "KEY" in name]:
        monkeypatch.delenv(name)
    with pytest.raises(UsageError, match=r"s3://any/d cannot be listed: no credentials were found"):
        root_of("s3://any/d")


@pytest.mark.long
def test_server_that_cannot_be_reached_is_one_message_without_secrets(
    s3: S3Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(UsageError, match=r"s3://any/d cannot be listed: it cannot be reac") as told:
        root_of("s3://any/d")
    assert SECRET not in str(told.value) and KEY not in str(told.value)


def test_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(_: str) -> None:
        raise ImportError("Please install gcsfs to access Google Storage")

    monkeypatch.setattr("fsspec.core.url_to_fs", lacking)
    with pytest.raises(UsageError, match=r"gs:// needs a package .*: Please install gcsfs to acce"):
        root_of("gs://bucket/d")
    with pytest.raises(UsageError, match=r's3:// needs .*: pip install "vqa-twostage\[s3\]"$'):
        root_of("s3://bucket/d")


def test_protocol_that_is_none_is_answered_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="unknown protocol ss; fsspec knows .*, s3, "):
        opened("ss://bucket")


def test_root_of_a_web_server_is_refused_since_it_lists_nothing() -> None:
    with pytest.raises(UsageError, match="give the address of each video in the column of paths"):
        root_of("https://host/videos")


def test_address_as_a_path_of_pathlib_is_refused() -> None:
    with pytest.raises(UsageError, match="give it as text, since pathlib drops a slash"):
        root_of(Path("s3://bucket/d"))


@EACH_CASE
@given(
    st.datetimes(datetime(1980, 1, 1), datetime(2200, 1, 1)),
    st.integers(-11, 11),
)
def test_time_is_the_same_in_each_form_that_listings_have(when: datetime, zone: int) -> None:
    there = when.replace(tzinfo=timezone(timedelta(hours=zone)))
    expected = remote_files._nanoseconds(there)
    assert remote_files._nanoseconds(there.isoformat()) == expected
    assert remote_files._nanoseconds(there.astimezone(UTC)) == expected
    assert abs(remote_files._nanoseconds(there.timestamp()) - expected) < 2000
    whole = there.astimezone(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert 0 <= expected - remote_files._nanoseconds(whole) < 10**9
    assert remote_files._nanoseconds("never") == 0


def test_store_that_tells_no_time_is_known_by_the_mark_of_a_content() -> None:
    one, same, other = (
        remote_files._described("hf://x", {"size": 1, "blob_id": mark}) for mark in "aab"
    )
    assert one.mtime_ns == same.mtime_ns != other.mtime_ns
    assert 0 < one.mtime_ns < 2**63
