"""What decodes on a cluster, called without one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from vqa_twostage.extract.cluster.decoding import Block, DecodingActor
from vqa_twostage.extract.cluster.pieces import Piece
from vqa_twostage.extract.decoding.workers import DecodeRequest, DecodeSummary
from vqa_twostage.extract.pending import PendingVideo

REQUEST = DecodeRequest("uniform:frames=1", "auto")


@pytest.fixture
def places(clips: Path, tmp_path: Path) -> list[Path]:
    """Three copies of a video, each in a folder of its own."""
    video = min(clips.glob("*.mp4"))
    found = [tmp_path / name / video.name for name in "abc"]
    for place in found:
        place.parent.mkdir()
        shutil.copy(video, place)
    return found


def decoded(actor: DecodingActor, *paths: Path) -> list[Piece]:
    """What comes of a block with these videos."""
    videos = tuple(PendingVideo(str(path), path, ()) for path in paths)
    actor.add(Block(videos, ({},) * len(videos), alone=False))
    return list(iter(actor.take, None))


def started(folders: list[str], monkeypatch: pytest.MonkeyPatch, here: Path) -> DecodingActor:
    monkeypatch.chdir(here)  # the actor goes to its folder
    return DecodingActor(REQUEST, here, folders)


@pytest.fixture
def ended() -> Iterator[list[DecodingActor]]:
    """Actors that end with the test, and what they set in their process."""
    actors: list[DecodingActor] = []
    threads = torch.get_num_threads()
    yield actors
    for actor in actors:
        actor._processes.close()
    torch.set_num_threads(threads)


def test_a_decoder_keeps_its_process_for_all_folders_of_the_job(
    places: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: list[DecodingActor]
) -> None:
    folders = [str(place.parent) for place in places]
    actor = started([*folders, str(tmp_path / "absent")], monkeypatch, tmp_path)
    ended.append(actor)
    process = actor._processes
    for place in places:
        (piece,) = decoded(actor, place)
        assert isinstance(piece.end, DecodeSummary) and piece.header is not None
    assert actor._processes is process


def test_a_decoder_starts_another_process_for_a_folder_that_the_job_did_not_name(
    places: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: list[DecodingActor]
) -> None:
    actor = started([str(places[0].parent)], monkeypatch, tmp_path)
    ended.append(actor)
    process = actor._processes
    (piece,) = decoded(actor, places[1])
    assert isinstance(piece.end, DecodeSummary)
    assert actor._processes is not process
    assert actor._processes.folders == {str(place.parent) for place in places[:2]}
