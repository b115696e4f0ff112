"""Videos at addresses are scored as their files are, in parts, and called by their addresses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import called
from s3_server import S3Service

from vqa_twostage.fuse.copied_scores import Part, score_copies
from vqa_twostage.fuse.score import score
from vqa_twostage.fuse.video_score import Score
from vqa_twostage.pipeline.errors import UsageError, VideoError
from vqa_twostage.pipeline.limits import GB
from vqa_twostage.pipeline.remote_files import RemoteFile


def plain(video: str, error: str = "") -> Score:
    return Score(
        video,
        digest="",
        scale=(1.0, 5.0),
        label="MOS",
        better="higher",
        trained_on="x",
        agreement=None,
        error=error,
    )


def test_scores_of_parts_come_in_order_with_their_addresses(tmp_path: Path) -> None:
    files = [RemoteFile(f"s3://b/{n}.mp4", 1) for n in range(5)]
    copies = [tmp_path / f"{n}.mp4" for n in range(5)]
    progress, told = [], []

    def parts() -> Iterator[Part]:
        yield [(files[0], copies[0]), (files[1], VideoError("cut", "fetch")), (files[2], copies[2])]
        yield [(files[3], copies[3]), (files[4], copies[4])]

    def score_of(paths, on_progress, on_score):  # type: ignore[no-untyped-def]
        scores = [plain(str(path)) for path in paths]
        for done, found in enumerate(scores[::-1], 1):
            on_progress(done, len(paths))
            on_score(found)
        return scores

    scores = score_copies(
        parts(),
        5,
        score_of,
        plain,
        lambda done, total: progress.append((done, total)),
        lambda found: told.append(found.video),
    )
    assert [found.video for found in scores] == [file.address for file in files]
    assert [found.error for found in scores] == ["", "cut", "", "", ""]
    assert sorted(told) == [file.address for file in files]
    assert progress == [(1, 5), (2, 5), (4, 5), (5, 5)]


@pytest.mark.long
def test_scores_of_a_bucket_are_those_of_the_files(
    s3: S3Service, clips: Path, tmp_path: Path
) -> None:
    s3.put_folder("scored", clips, "d")
    s3.put("scored", {"d/.hidden.mp4": b"x", "d/text.mp4": b"no video"})
    names = sorted(path.name for path in clips.glob("*.mp4"))
    s3.refused = {f"d/{names[0]}"}
    local = {found.video: found for found in score([clips / name for name in names])}
    sizes = [(clips / name).stat().st_size for name in names]
    told: list[str] = []
    scores = score(
        ["s3://scored/d/", str(clips / names[1])],
        scratch=tmp_path,
        scratch_gb=3 * max(sizes) / GB,  # in parts
        on_score=lambda found: told.append(found.video),
    )
    by_name = {found.video: found for found in scores}
    assert [*by_name] == [
        *(f"s3://scored/d/{name}" for name in sorted([*names, "text.mp4"])),
        str(clips / names[1]),
    ]
    assert sorted(told) == sorted(by_name)
    for name in names[1:]:
        found, expected = by_name[f"s3://scored/d/{name}"], local[str(clips / name)]
        assert (found.score, found.digest) == (expected.score, expected.digest)
        assert found.frames == expected.frames
    assert by_name[f"s3://scored/d/{names[0]}"].error.startswith("cannot be copied: no permission")
    assert by_name["s3://scored/d/text.mp4"].error
    assert not [*tmp_path.iterdir()]


@pytest.mark.long
def test_score_of_an_address_is_printed_under_it(
    s3: S3Service, clips: Path, tmp_path: Path
) -> None:
    s3.put_folder("printed", clips, "d")
    words = ["vqa-fuse", "score", "s3://printed/d/m*.mp4", "s3://printed/d/testsrc.mp4"]
    done = called(*words, "--jsonl", "--no-cache", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line)["video"] for line in done.stdout.splitlines()]
    assert found == ["s3://printed/d/mandelbrot.mp4", "s3://printed/d/testsrc.mp4"]
    done = called(*words, "--plot", "x.png", cwd=tmp_path)
    assert done.returncode == 2
    assert "--plot draws frames of files of this machine, and s3://printed/d/mandel" in done.stderr


def test_cache_of_scores_at_an_address_is_refused(clips: Path) -> None:
    with pytest.raises(UsageError, match=r"^the cache s3://b/c is an address"):
        score(clips / "testsrc.mp4", cache="s3://b/c")
