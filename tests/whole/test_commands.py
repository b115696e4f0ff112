"""The commands have correct help, lists, error messages, exit codes and JSON output."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import BIN, called, document, run

COMMANDS = [
    ["vqa-extract"],
    ["vqa-fuse"],
    *[
        ["vqa-fuse", name]
        for name in (
            "train",
            "ablate",
            "import-scores",
            "learning-curve",
            "evaluate",
            "compare",
            "reproduce",
            "runs",
            "report",
            "score",
            "export",
        )
    ],
    ["vqa-data"],
    *[["vqa-data", name] for name in ("list", "check", "export", "make")],
    ["vqa-cache"],
    *[["vqa-cache", name] for name in ("info", "verify", "du", "rm", "merge", "export", "import")],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(command: list[str]) -> None:
    result = run(*command, "--help")
    assert (
        result.returncode == 0
        and "Example" in result.stdout
        and f"  {command[0]} " in result.stdout
    )


@pytest.mark.parametrize(
    "command",
    [["vqa-extract", "--help"], ["vqa-extract", "--list"], ["vqa-fuse", "train", "--list"]],
)
def test_help_and_lists_do_not_import_torch(command: list[str]) -> None:
    code = (
        "import sys\n"
        "from importlib.metadata import entry_points\n"
        f"sys.argv = {command!r}\n"
        f"main, = entry_points(group='console_scripts', name={command[0]!r})\n"
        "try: main.load()()\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        "heavy = {'torch', 'timm', 'transformers', 'pandas', 'matplotlib', 'h5py'} & "
        "set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout


def test_list_of_extract_names_every_plugin_with_a_description() -> None:
    lines = run("vqa-extract", "--list").stdout.splitlines()
    for name in ("efficientnet", "efficientnet_lite0", "tsm", "uniform", "offline"):
        assert any(line.split()[:1] == [name] and len(line.split()) > 3 for line in lines), name


def test_list_of_train_names_every_kind_of_choice() -> None:
    lines = run("vqa-fuse", "train", "--list").stdout.splitlines()
    for name in ("dynamic", "avg", "gru", "ridge", "kfold", "smooth_l1"):
        assert any(line.split()[:1] == [name] and len(line.split()) > 3 for line in lines), name


@pytest.mark.long
def test_baseline_is_trained_from_the_cache_that_the_environment_names(
    toy_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VQA_CACHE", str(toy_cache))
    words = ["vqa-fuse", "train", "--baseline", "ridge", "--protocol", "random:n=2", "--json"]
    result = document(called(*words, "--workers", "1", cwd=tmp_path))
    assert result["fusion"] == "ridge" and (tmp_path / result["run"] / "run.json").is_file()
    assert not (tmp_path / result["run"] / "model.safetensors").exists()
    assert ":" not in result["run"] and "=" not in result["run"]
    reproduced = called("vqa-fuse", "reproduce", result["run"], "--workers", "1", cwd=tmp_path)
    assert reproduced.returncode == 0 and "equal to the last bit" in reproduced.stdout
    refused = called(*words, "--fusion", "concat", cwd=tmp_path)
    assert refused.returncode == 2 and "so leave out --fusion" in refused.stderr


def test_missing_files_of_konvid_are_reported_in_one_message_with_exit_code_2(
    tmp_path: Path,
) -> None:
    result = run("vqa-extract", "--dataset", "konvid", cwd=tmp_path)
    assert result.returncode == 2 and result.stdout == ""
    assert (
        "database.mmsp-kn.de" in result.stderr
        and "KoNViD_1k_videos/<flickr_id>.mp4" in result.stderr
    )
    assert "Traceback" not in result.stderr and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["vqa-extract"], "--dataset is missing"),
        (
            ["vqa-extract", "--dataset", "mos.csv", "--preset", "best"],
            "choose from baseline, offline, optimized",
        ),
        (
            ["vqa-extract", "--dataset", "mos.csv", "--spatial", "resnet51"],
            "unknown spatial backbone 'resnet51'; choose from",
        ),
        (
            ["vqa-extract", "--dataset", "mos.csv", "--sampler", "uniform:frames=0"],
            "uniform: frames must be at least 1",
        ),
        (["vqa-extract", "--dataset", "nowhere.csv"], "nowhere.csv does not exist"),
        (["vqa-extract", "--dataset", "nowhere.toml"], "nowhere.toml does not exist"),
        (["vqa-extract", "--frames", "8"], "No such option"),
        (["vqa-fuse", "train", "--cache", "nowhere"], "nowhere holds no dataset; run vqa-extract"),
        (["vqa-fuse", "evaluate", "nowhere"], "nowhere is not a run"),
        (["vqa-fuse", "compare", "one"], "two runs or more"),
        (
            ["vqa-fuse", "reproduce", "nowhere"],
            "nowhere is not a run: nowhere/run.json does not exist",
        ),
        (["vqa-fuse", "ablate", "--cache", "nowhere"], "nowhere holds no dataset"),
        (["vqa-fuse", "train", "--fusion", "sum"], "unknown fusion 'sum'; choose from concat"),
        (
            [
                "vqa-cache",
                "import",
                "mos.csv",
                "--dataset",
                "mos.csv",
                "--kind",
                "spatial",
                "--name",
                "UP",
            ],
            "UP",
        ),
        (["vqa-cache", "info", "nowhere"], "nowhere holds no track"),
        (["vqa-data", "check", "konvid"], "--root"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_use_is_refused_in_one_message(words: list[str], message: str, clips: Path) -> None:
    result = called(*words, cwd=clips)
    assert result.returncode == 2, result.stderr
    assert message in result.stderr and "Traceback" not in result.stderr and result.stdout == ""


def test_dry_run_prints_the_options_and_writes_nothing(clips: Path, tmp_path: Path) -> None:
    result = called(
        "vqa-extract",
        "--dataset",
        clips / "mos.csv",
        "--preset",
        "offline",
        "--dry-run",
        cwd=tmp_path,
    )
    assert (
        result.returncode == 0
        and "spatial = efficientnet_lite0" in result.stdout
        and "6 videos" in result.stdout
    )
    assert list(tmp_path.iterdir()) == []


def test_dry_run_prints_the_options_of_a_preset_for_both_stages(
    clips: Path, tmp_path: Path
) -> None:
    words = ["vqa-extract", "--dataset", clips / "mos.csv", "--preset", "baseline", "--dry-run"]
    extract_text, fuse_text = called(*words, cwd=tmp_path).stdout.split("vqa-fuse train")
    assert (
        "temporal = slowfast" in extract_text and "sampler = clips:frames=32,rate=1" in extract_text
    )
    assert "temporal = slowfast" in fuse_text and "fusion = concat" in fuse_text
    plan = document(called(*words, "--json", cwd=tmp_path))
    assert (
        plan["extract"]["spatial"] == ["resnet"]
        and plan["fuse"]["fusion"] == "concat"
        and plan["videos"] == 6
    )


def test_data_check_counts_found_and_missing_files(own_clips: Path) -> None:
    (own_clips / "testsrc.mp4").unlink()
    result = run("vqa-data", "check", own_clips / "mos.csv", "--json")
    assert result.returncode == 3
    expected = {
        "dataset": "mos",
        "rows": 6,
        "found": 5,
        "missing": ["testsrc.mp4"],
        "mos_min": 1.0,
        "mos_max": 3.5,
    }
    counts = document(result)
    assert {key: counts[key] for key in expected} == expected


@pytest.mark.parametrize(
    "words",
    [["vqa-data", "make", "demo", "--root"], ["vqa-extract", "--dataset", "mos.csv", "--cache"]],
)
def test_unwritable_path_is_refused(words: list[str], own_clips: Path) -> None:
    (own_clips / "taken").write_text("mine")
    extra = ["--preset", "offline"] if words[0] == "vqa-extract" else []
    result = called(*words, "taken", *extra, cwd=own_clips)
    assert result.returncode == 2, result.stderr
    assert "taken" in result.stderr and "Traceback" not in result.stderr
    assert (own_clips / "taken").read_text() == "mine"


def test_commands_lead_from_videos_to_metrics(own_clips: Path, tmp_path: Path) -> None:
    """Own videos in a CSV: extract twice, train, evaluate, reproduce, ablate, compare, verify."""
    (own_clips / "mandelbrot.mp4").write_bytes(b"")
    words = ["vqa-extract", "--dataset", own_clips / "mos.csv", "--preset", "offline", "--json"]
    first = run(*words, cwd=tmp_path)
    assert first.returncode == 3, first.stderr
    outcome = document(first)
    assert (outcome["videos"], outcome["done"], outcome["skipped"]) == (6, 5, 0)
    assert outcome["failed"] == [{"id": "001", "reason": "file is empty"}]
    again = document(called(*words, cwd=tmp_path))
    assert (again["done"], again["skipped"], len(again["failed"])) == (0, 5, 1)

    train = [
        "vqa-fuse",
        "train",
        "--epochs",
        "4",
        "--protocol",
        "random:n=2",
        "--workers",
        "1",
        "--json",
    ]
    trained = run(*train, "--fusion", "dynamic", cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    evaluation = document(trained)
    assert {"dataset", "fusion", "protocol", "n_videos", "splits", "median", "run"} <= set(
        evaluation
    )
    assert (evaluation["dataset"], evaluation["fusion"], evaluation["n_videos"]) == (
        "mos",
        "dynamic",
        5,
    )
    assert evaluation["missing"] == ["001"]
    assert (
        document(called("vqa-fuse", "evaluate", evaluation["run"], "--json", cwd=tmp_path))
        == evaluation
    )

    assert (
        called(
            "vqa-fuse", "reproduce", evaluation["run"], "--workers", "1", cwd=tmp_path
        ).returncode
        == 0
    )
    crossed = document(
        called(
            "vqa-fuse", "evaluate", evaluation["run"], "--dataset", "mos", "--json", cwd=tmp_path
        )
    )
    assert (crossed["n_videos"], crossed["missing"]) == (5, ["001"])
    ablate = ["vqa-fuse", "ablate", "--fusion", "concat,gated", "--baselines", "ridge", *train[2:]]
    ablated = called(*ablate, "--members", "1", cwd=tmp_path)
    assert ablated.returncode == 0 and "of 6" in ablated.stderr, ablated.stderr
    variants = {row["name"]: row["run"] for row in document(ablated)["rows"]}
    assert set(variants) == {"concat", "gated", "ridge"}

    table = called("vqa-fuse", "compare", variants["concat"], evaluation["run"], cwd=tmp_path)
    assert table.returncode == 0 and "concat" in table.stdout and "dynamic" in table.stdout
    assert (
        f"{evaluation['run']}/scatter.png" in table.stdout
        and (tmp_path / evaluation["run"] / "scatter.png").is_file()
    )

    tracks = document(called("vqa-cache", "info", "--json", cwd=tmp_path))["tracks"]
    assert [track["videos"] for track in tracks] == [5, 5]
    assert called("vqa-cache", "verify", cwd=tmp_path).returncode == 0


def test_ctrl_c_exits_with_130_and_keeps_finished_videos(clips: Path, tmp_path: Path) -> None:
    command = [
        BIN / "vqa-extract",
        "--dataset",
        clips / "mos.csv",
        "--preset",
        "offline",
        "--sampler",
        "uniform:frames=24",
    ]
    process = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while process.poll() is None and not any(
        path.stat().st_size > 40_000 for path in tmp_path.glob("cache/mos/*/tsm*.h5")
    ):
        time.sleep(0.01)
    os.killpg(
        process.pid, signal.SIGINT
    )  # as a terminal does: to the whole group, including the decoders
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "what was finished is kept" in messages and "Traceback" not in messages
    assert called("vqa-cache", "verify", cwd=tmp_path).returncode == 0
