"""`vqa-cache import --block` makes a track of each chosen block of a file, its rows joined by the
ids in it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from vqa_twostage.pipeline.cache import track as cached
from vqa_twostage.pipeline.cli_cache import cache_command
from vqa_twostage.pipeline.errors import DONE, SOME_FAILED, UsageError

IDS = ["007", "b", "dir/c.mp4", "ä", "e"]
ORDER = ["e", "c", "007", "A", "b"]
BLOCKS = {
    "sharp": np.arange(20).reshape(5, 4) * 0.5,
    "motion": np.arange(30).reshape(5, 2, 3) + 0.25,
    "Own-Net": np.arange(10).reshape(5, 2) + 100.0,
    "mos": np.arange(5.0),
    "short": np.zeros((4, 2)),
}


@pytest.fixture(autouse=True)
def file_and_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [f"{video_id},videos/{number}.mp4,{number}" for number, video_id in enumerate(IDS, 1)]
    Path("own.csv").write_text("\n".join(["id,path,mos", *rows]) + "\n", encoding="utf-8")
    np.savez("f.npz", ids=np.array(["e", "c", "007", "ä", "b"]), **BLOCKS)


def command(*options: str, file: str = "f.npz") -> Result:
    words = ["import", file, "--dataset", "own.csv", *options]
    return CliRunner().invoke(cache_command, words, standalone_mode=False)


def tracks(*options: str, file: str = "f.npz", code: int = DONE) -> list[dict[str, Any]]:
    result = command(*options, "--json", file=file)
    if result.exception:
        raise result.exception
    assert result.return_value == code
    found: list[dict[str, Any]] = json.loads(result.stdout)["tracks"]
    return found


def refused(*options: str, file: str = "f.npz") -> str:
    """The message of a refused import, which writes nothing."""
    with pytest.raises(UsageError) as error:
        tracks(*options, file=file)
    assert not Path("cache").exists()
    return str(error.value)


def stored(document: dict[str, Any]) -> dict[str, list[list[float]]]:
    with cached.open_track(Path(document["track"])) as track:
        (name,) = track.array_names
        return {video_id: track.read(video_id).arrays[name].tolist() for video_id in track.ids}


def test_each_block_becomes_a_track_with_rows_joined_by_id() -> None:
    documents = tracks(
        *("--block", "sharp:0:1=spatial", "--block", "sharp:1:=temporal"),
        *("--block", "Own-Net=spatial", "--block", "motion::2=temporal"),
    )
    assert [(document["name"], document["kind"]) for document in documents] == [
        ("sharp_0_1", "spatial"),
        ("sharp_1_4", "temporal"),
        ("own_net", "spatial"),
        ("motion_0_2", "temporal"),
    ]
    order = ["e", "dir/c.mp4", "007", "ä", "b"]
    for document, block, columns in zip(
        documents,
        ["sharp", "sharp", "Own-Net", "motion"],
        [(0, 1), (1, 4), (0, 2), (0, 2)],
        strict=True,
    ):
        rows = BLOCKS[block].reshape(5, -1, BLOCKS[block].shape[-1])[:, :, slice(*columns)]
        assert stored(document) == dict(zip(order, rows.tolist(), strict=True))
        assert document["missing"] == document["unknown"] == [] and document["order"] == []
        assert document["otherwise"] == {"c": "dir/c.mp4"}


def test_whole_block_in_columns_is_the_same_track_as_the_block() -> None:
    (whole,) = tracks("--block", "sharp=spatial")
    (again,) = tracks("--block", "sharp:0:4=spatial")
    single = command("--kind", "spatial", "--name", "sharp", "--key", "sharp", "--json")
    assert whole["track"] == again["track"] == json.loads(single.stdout)["track"]
    assert whole["written"] == 5 and again["written"] == 0


def test_ids_in_a_file_are_used_for_a_single_array_too() -> None:
    result = command("--kind", "spatial", "--name", "theirs", "--key", "sharp", "--json")
    assert stored(json.loads(result.stdout))["007"] == [BLOCKS["sharp"][2].tolist()]
    assert (
        "in their order"
        not in command(*("--kind", "spatial", "--name", "theirs", "--key", "sharp")).stdout
    )


def test_whole_numbers_are_ids_and_a_list_of_ids_goes_before_those_in_the_file() -> None:
    np.savez("n.npz", ids=np.array([7, 8]), x=np.array([[1.0], [2.0]]))
    Path("own.csv").write_text("id,path,mos\n7,a.mp4,1\n8,b.mp4,2\n")
    (document,) = tracks("--block", "x=spatial", file="n.npz")
    assert stored(document) == {"7": [[1.0]], "8": [[2.0]]}
    Path("ids.txt").write_text("8\n7\n")
    (document,) = tracks("--block", "x=spatial", "--ids", "ids.txt", file="n.npz")
    assert stored(document) == {"7": [[2.0]], "8": [[1.0]]}


def test_file_without_ids_is_in_the_order_of_the_dataset() -> None:
    np.savez("n.npz", x=BLOCKS["sharp"])
    (document,) = tracks("--block", "x=spatial", file="n.npz")
    assert stored(document) == dict(zip(IDS, BLOCKS["sharp"][:, None].tolist(), strict=True))
    assert document["order"] == ["007", "e"]


def test_names_are_told_that_match_otherwise_or_not_at_all() -> None:
    rows = {"ids": np.array(["E.mp4", "nobody", "x/b", "y/b", "007"]), "x": BLOCKS["sharp"]}
    np.savez("n.npz", **rows)
    result = command("--block", "x=spatial", "--block", "x::1=temporal", file="n.npz")
    assert result.return_value == SOME_FAILED
    assert "  1 name is not the id as it stands: E.mp4 = e" in result.stdout
    for message in (
        "in the file, but no video: nobody",
        "in the file, and not clear which video: x/b (b)",
        "in the file, and not clear which video: y/b (b)",
        "no features: b",
        "no features: ä",
    ):
        assert result.stderr.count(message) == 1, message
    (document,) = tracks("--block", "x=spatial", file="n.npz", code=SOME_FAILED)
    assert document["missing"] == ["b", "dir/c.mp4", "ä"] and document["unknown"] == ["nobody"]
    assert document["ambiguous"] == {"x/b": ["b"], "y/b": ["b"]}
    assert document["otherwise"] == {"E.mp4": "e"}


def test_each_block_has_one_message_and_the_last_names_the_next_command() -> None:
    lines = command("--block", "sharp=spatial", "--block", "motion=temporal").stdout.splitlines()
    assert sum("f.npz, array" in line for line in lines) == 2
    assert [line for line in lines if line.startswith("next:")] == lines[-1:]
    assert "vqa-fuse train --dataset own --spatial sharp-" in lines[-1]
    assert "--temporal motion-" in lines[-1]


def test_each_array_is_read_once_for_all_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    load = np.lib.npyio.NpzFile.__getitem__

    def counted(self: np.lib.npyio.NpzFile, key: str) -> np.ndarray:
        read.append(key)
        array: np.ndarray = load(self, key)
        return array

    monkeypatch.setattr(np.lib.npyio.NpzFile, "__getitem__", counted)
    blocks = ["sharp::1=spatial", "sharp:1:=spatial", "motion=temporal"]
    tracks(*(word for block in blocks for word in ("--block", block)))
    assert sorted(read) == ["ids", "motion", "sharp"]


def test_values_that_are_not_finite_are_kept_and_reported_by_the_column_of_the_file() -> None:
    array = BLOCKS["sharp"].copy()
    array[[0, 3], 2] = np.nan
    np.savez("n.npz", ids=np.array(IDS), x=array)
    (document,) = tracks("--block", "x:1:=spatial", file="n.npz")
    assert document["not_finite"] == [{"column": 2, "videos": 2}]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--block", "blurr=spatial"], "--block blurr: there is no such array"),
        (["--block", "blurr=spatial"], "motion: 5 x 2 x 3"),
        (["--block", "sharp:0:5=spatial"], "--block sharp:0:5=spatial: 0:5 goes beyond the 4"),
        (["--block", "sharp:4:=spatial"], "4: is empty or the wrong way round"),
        (["--block", "sharp:2:1=spatial"], "2:1 is empty or the wrong way round"),
        (["--block", "short=spatial"], "array short is 4 x 2: 4 rows, and its ids name 5 videos"),
        (["--block", "ids=spatial"], "array ids is 5 (text, not plain numbers)"),
        (["--block", "mos=spatial"], "array mos of f.npz is the label by its name"),
        (["--block", "sharp"], "--block sharp is not a block; give NAME=spatial"),
        (["--block", "sharp=visual"], "--block sharp=visual is not a block"),
        (["--block", "=spatial"], "--block =spatial is not a block"),
        (
            ["--block", "sharp=spatial", "--block", "sharp:0:4=spatial"],
            "two blocks would be the spatial track sharp",
        ),
        (["--block", "sharp=spatial", "--kind", "spatial"], "--block says it; leave out --kind"),
        (
            ["--block", "sharp=spatial", "--columns", "0:1", "--name", "x"],
            "--block says it; leave out --name, --columns",
        ),
        ([], "give --kind and --name, or --block NAME=spatial"),
        (["--kind", "spatial"], "give --kind and --name, or --block NAME=spatial"),
    ],
)
def test_wrong_blocks_are_refused(options: list[str], message: str) -> None:
    assert message in refused(*options)


def test_one_wrong_block_keeps_all_others_from_being_written() -> None:
    message = refused("--block", "sharp=spatial", "--block", "y=temporal")
    assert "--block y: there is no such array" in message


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (np.array(["b", "b", "e", "ä", "007"]), "ids of f.npz name b more than once"),
        (np.array(["v", "w", "x", "y", "z"]), "f.npz has features of v, w, x, y, z, and none"),
        (np.array(["b", "", "e", "ä", "007"]), "an id of f.npz is no text"),
        (np.array([["b"]] * 5), "ids of f.npz is 5 x 1 of"),
        (np.array([0.5] * 5), "ids of f.npz is 5 of float64"),
        (np.array([b"\xff"] * 5), "an id of f.npz is no text"),
    ],
)
def test_unusable_ids_in_a_file_are_refused(ids: np.ndarray, message: str) -> None:
    np.savez("f.npz", ids=ids, x=BLOCKS["sharp"])
    assert message in refused("--block", "x=spatial")


@pytest.mark.parametrize("name", ["f.npy", "f.csv", "f.h5"])
def test_blocks_are_of_npz_files(name: str) -> None:
    Path(name).write_text("1,2\n")
    assert f"--block is for .npz files, and {name} is none" in refused(
        "--block", "x=spatial", file=name
    )


@pytest.mark.long
@pytest.mark.real
def test_blocks_of_konvid_are_joined_by_id(real: Path) -> None:
    file = real / "features" / "konvid1k.npz"
    result = CliRunner().invoke(
        cache_command,
        [
            *("import", str(file), "--dataset", "konvid", "--root", str(real / "labels")),
            *("--block", "brisque_sts:0:36=spatial", "--block", "brisque_sts:36:108=temporal"),
            *("--block", "niqe_sts=spatial", "--json"),
        ],
        standalone_mode=False,
    )
    assert result.return_value == DONE, result.output
    documents = json.loads(result.stdout)["tracks"]
    assert [document["name"] for document in documents] == [
        "brisque_sts_0_36",
        "brisque_sts_36_108",
        "niqe_sts",
    ]
    with np.load(file) as arrays:
        ids, niqe = arrays["ids"].tolist(), arrays["niqe_sts"]
    found = stored(documents[2])
    assert len(found) == 1200
    for row in (0, 599, 1199):
        assert found[ids[row]] == [niqe[row].tolist()]


@pytest.mark.real
def test_blocks_of_cvd2014_are_joined_by_the_paths_of_its_videos(real: Path) -> None:
    result = CliRunner().invoke(
        cache_command,
        [
            *("import", str(real / "features" / "cvd2014_scores.npz"), "--dataset", "cvd2014"),
            *("--root", str(real / "labels"), "--block", "dover=spatial", "--json"),
        ],
        standalone_mode=False,
    )
    assert result.return_value == DONE, result.output
    (document,) = json.loads(result.stdout)["tracks"]
    assert document["videos"] == len(document["otherwise"]) == 234


def test_opinions_that_features_learnt_from_are_part_of_the_track() -> None:
    (plain,) = tracks("--block", "sharp=spatial")
    (learnt,) = tracks("--block", "sharp=spatial", "--trained-on", "MaxWell,lsvq,lsvq")
    assert learnt["track"] != plain["track"]
    assert (plain["trained_on"], learnt["trained_on"]) == ([], ["lsvq", "maxwell"])
    with cached.open_track(Path(plain["track"])) as track:
        assert "trained_on" not in track.identity.to_json() and track.identity.opinions == ()
    with cached.open_track(Path(learnt["track"])) as track:
        assert track.identity.opinions == ("lsvq", "maxwell")
    shown = CliRunner().invoke(cache_command, ["info", "cache"], standalone_mode=False).stdout
    assert shown.count("trained_on") == 1 and "  trained_on: lsvq,maxwell\n" in shown
    said = command("--block", "sharp=spatial", "--trained-on", "lsvq").stdout
    assert "its features learnt from opinions of: lsvq" in said
    named = ["--kind", "spatial", "--name", "x", "--key", "sharp", "--json"]
    single = command(*named, "--trained-on", "lsvq")
    assert json.loads(single.stdout)["trained_on"] == ["lsvq"]


@pytest.mark.parametrize("text", ["", ",", "lsvq,", "a b", "a,,b", "a;\tb", "a\x1b"])
def test_wrong_names_of_datasets_are_refused(text: str) -> None:
    message = refused("--block", "sharp=spatial", "--trained-on", text)
    assert "names of datasets joined by commas" in message


def test_opinions_survive_an_export() -> None:
    (learnt,) = tracks("--block", "sharp=spatial", "--trained-on", "lsvq")
    words = ["export", "--to", "npz", "--output", "out", "--spatial", Path(learnt["track"]).stem]
    result = CliRunner().invoke(cache_command, [*words, "--json"], standalone_mode=False)
    file = json.loads(result.stdout)["tracks"][0]["output"]
    named = ["--kind", "spatial", "--name", "y", "--json"]
    again = command(*named, "--trained-on", "maxwell", file=file)
    assert json.loads(again.stdout)["trained_on"] == ["lsvq", "maxwell"]
