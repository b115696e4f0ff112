"""Features of videos in an S3 bucket are those of the same files on a disk; a finished dataset is
not copied again; secrets get nowhere.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from commands import BIN, called, document, run
from s3_server import KEY, SECRET, S3Service
from stored_features import stored_in

from vqa_twostage.extract.options import ExtractOptions
from vqa_twostage.extract.results import Extraction
from vqa_twostage.extract.run import extract_dataset
from vqa_twostage.pipeline.datasets.loading import load_manifest
from vqa_twostage.pipeline.errors import UsageError

QUICK = ExtractOptions(spatial="efficientnet_lite0", temporal=(), sampler="uniform:frames=2")
WORDS = ["--spatial", "efficientnet_lite0", "--temporal", "tsm", "--sampler", "uniform:frames=2"]


def extract(
    folder: Path, root: str | None, cache: Path, scratch: Path, **options: Any
) -> Extraction:
    manifest = load_manifest(str(folder / "mos.csv"), root)
    return extract_dataset(manifest, cache, replace(QUICK, scratch=str(scratch), **options))


@pytest.mark.long
def test_features_of_a_bucket_are_those_of_the_files_and_are_not_extracted_again(
    s3: S3Service, clips: Path, tmp_path: Path
) -> None:
    s3.put_folder("features", clips, "d")
    scratch = tmp_path / "scratch"
    local = extract(clips, None, tmp_path / "local", scratch)
    assert not scratch.exists()
    first = extract(clips, "s3://features/d", tmp_path / "cache", scratch)
    assert (first.done, first.failed) == (6, ())
    assert stored_in(first.tracks) == stored_in(local.tracks)
    assert len(s3.downloads) == len(set(s3.downloads)) == 6
    assert not [*scratch.iterdir()]
    # what there is to know is in one listing
    s3.asked.clear()
    second = extract(clips, "s3://features/d", tmp_path / "cache", scratch)
    assert (second.done, second.skipped) == (0, 6)
    assert len(s3.asked) == 1 and not s3.downloads


@pytest.mark.long
def test_file_that_changes_in_a_bucket_is_extracted_again_and_one_that_was_written_again_is_not(
    s3: S3Service, clips: Path, tmp_path: Path
) -> None:
    s3.put_folder("changing", clips, "d")
    arguments = clips, "s3://changing/d", tmp_path / "cache", tmp_path / "scratch"
    before = stored_in(extract(*arguments, limit=3).tracks)
    names = [str(path) for path in load_manifest(str(clips / "mos.csv")).rows["path"]]
    time.sleep(1.1)  # times of S3 are whole seconds
    s3.put("changing", {f"d/{names[0]}": (clips / names[5]).read_bytes()})  # another video
    s3.put("changing", {f"d/{names[1]}": (clips / names[1]).read_bytes()})  # the same
    s3.asked.clear()
    second = extract(*arguments, limit=3)
    assert (second.done, second.skipped) == (1, 2)
    assert sorted(s3.downloads) == sorted(f"d/{name}" for name in names[:2])
    after = stored_in(second.tracks)
    assert {key.split("/")[1] for key in before if before[key] != after[key]} == {"000"}
    s3.asked.clear()
    third = extract(*arguments, limit=3)
    assert (third.done, third.skipped) == (0, 3)
    assert not s3.downloads


@pytest.mark.long
def test_features_of_files_that_moved_to_a_bucket_are_kept(
    s3: S3Service, clips: Path, tmp_path: Path
) -> None:
    local = extract(clips, None, tmp_path / "cache", tmp_path, limit=2)
    before = stored_in(local.tracks)
    s3.put_folder("moved", clips, "d")
    moved = extract(clips, "s3://moved/d", tmp_path / "cache", tmp_path, limit=2)
    assert (moved.done, moved.skipped, moved.failed) == (0, 2, ())
    assert stored_in(moved.tracks) == before
    s3.asked.clear()
    extract(clips, "s3://moved/d", tmp_path / "cache", tmp_path, limit=2)
    assert not s3.downloads


@pytest.mark.long
def test_features_stay_where_the_file_is_gone(s3: S3Service, clips: Path, tmp_path: Path) -> None:
    s3.put_folder("gone", clips, "d")
    arguments = clips, "s3://gone/d", tmp_path / "cache", tmp_path / "scratch"
    extract(*arguments, limit=2)
    name = load_manifest(str(clips / "mos.csv")).rows["path"][0]
    s3.client().delete_object(Bucket="gone", Key=f"d/{name}")
    again = extract(*arguments, limit=2)
    assert (again.skipped, again.failed) == (2, ())
    other = extract(*arguments[:2], tmp_path / "another", tmp_path, limit=2)
    assert [(failure.kind, failure.reason) for failure in other.failed] == [
        ("missing", f"file is missing: {name}")
    ]


@pytest.mark.long
def test_cut_and_refused_downloads_cost_their_videos_alone(
    s3: S3Service, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from s3fs import S3FileSystem

    monkeypatch.setattr(S3FileSystem, "retries", 2)
    s3.put_folder("cut", clips, "d")
    names = [f"d/{path}" for path in load_manifest(str(clips / "mos.csv")).rows["path"]]
    s3.cut = dict.fromkeys(names[:2], 1000)
    s3.cuts = {names[0]: 1, names[1]: 999}  # once, and always
    s3.refused = {names[2]}
    arguments = clips, "s3://cut/d", tmp_path / "cache", tmp_path / "scratch"
    first = extract(*arguments, limit=4)
    assert first.done == 2
    assert [failure.id for failure in first.failed] == ["001", "002"]
    assert first.failed[0].reason.startswith("could not be copied in 3 tries: ")
    assert first.failed[1].reason.startswith("cannot be copied: no permission; ")
    assert {failure.kind for failure in first.failed} == {"fetch"}
    s3.reset()
    assert extract(*arguments, limit=4).done == 2
    assert sorted(s3.downloads) == sorted(names[1:3])


@pytest.mark.long
def test_bucket_may_be_named_in_each_row(s3: S3Service, clips: Path, tmp_path: Path) -> None:
    s3.put_folder("rows", clips, "d")
    names = [*load_manifest(str(clips / "mos.csv")).rows["path"]][:2]
    rows = "".join(f"{n},s3://rows/d/{name},{n}\n" for n, name in enumerate(names))
    (tmp_path / "mos.csv").write_text(f"id,path,mos\n{rows}")
    done = extract(tmp_path, None, tmp_path / "cache", tmp_path / "scratch")
    assert (done.done, done.failed) == (2, ())
    s3.asked.clear()
    again = extract(tmp_path, None, tmp_path / "cache", tmp_path / "scratch")
    assert (again.skipped, len(s3.asked), s3.downloads) == (2, 1, [])


def test_cache_at_an_address_is_refused(clips: Path, tmp_path: Path) -> None:
    manifest = load_manifest(str(clips / "mos.csv"))
    with pytest.raises(UsageError, match=r"^the cache s3://b/c is an address: .*vqa-cache merge$"):
        extract_dataset(manifest, "s3://b/c", QUICK)


@pytest.mark.long
def test_dry_run_counts_and_tries_what_is_in_a_bucket(
    s3: S3Service, clips: Path, tmp_path: Path
) -> None:
    s3.put_folder("dry", clips, "d")
    name = load_manifest(str(clips / "mos.csv")).rows["path"][0]
    s3.client().delete_object(Bucket="dry", Key=f"d/{name}")
    words = ["vqa-extract", "--dataset", clips / "mos.csv", "--root", "s3://dry/d", *WORDS]
    found = document(called(*words, "--dry-run", "--json", "--cache", "new", cwd=tmp_path))
    assert (found["videos"], found["missing"], found["pending"]) == (6, 1, 5)
    assert found["estimate"]["tried"] > 0
    assert not (tmp_path / "new").exists()


@pytest.mark.long
def test_secrets_are_in_no_output_and_no_file(s3: S3Service, clips: Path, tmp_path: Path) -> None:
    s3.put_folder("secret", clips, "d")
    names = [f"d/{path}" for path in load_manifest(str(clips / "mos.csv")).rows["path"]]
    s3.refused = {names[0]}
    table = shutil.copy(clips / "mos.csv", tmp_path / "mos.csv")
    common = ["--scratch", "scratch", "--cache", "cache"]
    extraction = ["vqa-extract", "--dataset", table, *WORDS, *common]
    query = "?X-Amz-Security-Token="
    said = ""
    for words in (
        [*extraction, "--root", "s3://secret/d"],
        [*extraction, "--root", f"s3://{KEY}:{SECRET}@secret/d"],
        [*extraction, "--root", f"s3://secret/d{query}{SECRET}"],
        [*extraction, "--root", "s3://nobody/d"],
        ["vqa-fuse", "score", f"s3://secret/{names[1]}", f"s3://secret/{names[0]}", *common],
        ["vqa-fuse", "score", f"s3://{KEY}:{SECRET}@secret/{names[1]}", *common],
        ["vqa-fuse", "score", f"https://host/a.mp4{query}{SECRET}", *common],
        ["vqa-data", "check", table, "--root", f"s3://{KEY}:{SECRET}@secret/d"],
        ["vqa-data", "check", table, "--root", "s3://secret/d", "--scratch", "scratch"],
        ["vqa-data", "export", table, "--root", "s3://secret/d", "--output", "frozen.csv"],
        ["vqa-fuse", "train", "--dataset", "mos", "--cache", "cache", "--protocol", "random:n=1"],
    ):
        done = run(*words, cwd=tmp_path)
        assert done.returncode in (0, 2, 3), done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        said += done.stdout + done.stderr
    assert "s3://***" in said
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 5
    user_cache = Path(os.environ["XDG_CACHE_HOME"])
    files += [path for path in user_cache.rglob("*") if path.is_file()]
    written = b"".join(path.read_bytes() for path in files)
    for secret in (SECRET, KEY, SECRET.replace("/", "%2F"), SECRET[:20]):
        assert secret not in said
        assert secret.encode() not in written


def started(words: list[Any], folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [BIN / words[0], *map(str, words[1:])],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_run_that_is_stopped_leaves_nothing_that_the_next_does_not_remove(
    number: signal.Signals, s3: S3Service, clips: Path, tmp_path: Path
) -> None:
    s3.put_folder("stopped", clips, "d")
    s3.slow = 1.0  # seconds of each download
    words = ["vqa-extract", "--dataset", clips / "mos.csv", "--root", "s3://stopped/d", *WORDS]
    words += ["--scratch", "scratch", "--cache", "cache"]
    process = started(words, tmp_path)
    until = time.monotonic() + 60
    while not [*(tmp_path / "scratch").glob("vqa-videos-*/*.mp4")]:
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.01)
    os.killpg(process.pid, number)
    _, messages = process.communicate(timeout=30)
    left = [*(tmp_path / "scratch").iterdir()]
    if number == signal.SIGINT:
        assert process.returncode == 130, messages
        assert "Traceback" not in messages, messages
        assert not left
    else:
        assert left
    s3.reset()
    done = run(*words, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not [*(tmp_path / "scratch").iterdir()]
    assert document(done)["failed"] == []
