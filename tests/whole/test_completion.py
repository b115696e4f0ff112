"""Shells complete commands and the values of options: asked as shells ask, by click's protocol."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from commands import BIN
from places import REPOSITORY
from written_runs import predictions_of, write_run

from vqa_twostage.extract.cli import command as extract
from vqa_twostage.fuse.cli import command as fuse
from vqa_twostage.pipeline.cli_cache import cache_command
from vqa_twostage.pipeline.cli_data import data_command
from vqa_twostage.pipeline.datasets.table_options import DATASET

PROGRAMS = {
    "vqa-extract": extract,
    "vqa-fuse": fuse,
    "vqa-data": data_command,
    "vqa-cache": cache_command,
}
PAGE = REPOSITORY / "docs" / "how-to" / "completion.md"
# parameters whose values are names, whatever stands for them in the help
NAMED = ("dataset", "datasets", "preset", "run", "runs", "model")
HEAVY = ("torch", "pandas", "numpy", "h5py", "sklearn", "matplotlib")
CODE = """
import sys
from importlib.metadata import entry_points
sys.argv = ["{program}"]
main, = entry_points(group="console_scripts", name="{program}")
try:
    main.load()()
finally:
    print("heavy:", [name for name in {heavy} if name in sys.modules], file=sys.stderr)
"""


@pytest.fixture(scope="module")
def folder(toy_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where someone works: a cache, and two runs of an ablation beside another one."""
    place = tmp_path_factory.mktemp("work")
    (place / "cache").symlink_to(toy_cache)
    for name in ("runs/first", "runs/abl/one", "runs/abl/two", "elsewhere/third"):
        write_run(place / name, predictions_of([30]))
    (place / "runs" / "no run").mkdir()
    return place


def offered(line: str, folder: Path, **environment: str) -> list[str]:
    """What a shell offers for the last word of ``line``, which may be empty; "file" or "dir" where
    the shell is to offer those.
    """
    program, *words = line.split(" ")
    asked = {
        f"_{program.replace('-', '_').upper()}_COMPLETE": "fish_complete",
        "COMP_WORDS": " ".join([program, *words[:-1]]),
        "COMP_CWORD": words[-1],
    }
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(program=program, heavy=HEAVY)],
        env={**os.environ, "VQA_CACHE": "", **asked, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.strip() == "heavy: []"
    kinds = [answer.split("\t")[0].split(",", 1) for answer in done.stdout.split("\n") if answer]
    return [value if kind == "plain" else kind for kind, value in kinds]


EXPERTS = [f"dynamic:{name}=" for name in ("experts", "top_k", "balance", "hidden", "dropout")]
TWO = "concat,dynamic:experts=2"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("vqa-fuse learn", ["learning-curve"]),
        ("vqa-fuse train --temporal-e", ["--temporal-encoder"]),
        ("vqa-fuse train --fusion dy", ["dynamic"]),
        ("vqa-fuse ablate --fusion concat,dy", ["concat,dynamic"]),
        ("vqa-fuse ablate --baselines a", ["all"]),
        ("vqa-fuse train --fusion dynamic:", EXPERTS),
        ("vqa-fuse train --fusion dynamic:to", ["dynamic:top_k="]),
        ("vqa-fuse train --fusion dynamic:experts=2,h", ["dynamic:experts=2,hidden="]),
        ("vqa-fuse train --fusion dynamic:experts=", []),
        ("vqa-fuse train --fusion nothing:", []),
        ("vqa-fuse ablate --fusion concat,dynamic:experts=2,to", [f"{TWO},top_k="]),
        ("vqa-fuse ablate --fusion dynamic:experts=2,ga", ["dynamic:experts=2,gated"]),
        ("vqa-fuse train --protocol random:v", ["random:val="]),
        ("vqa-extract --spatial efficientnet_lite0:fi", ["efficientnet_lite0:fit="]),
        ("vqa-extract --sampler clips:stride=2,r", ["clips:stride=2,rate="]),
        ("vqa-fuse train --loss smooth_l1+pl", ["smooth_l1+plcc"]),
        ("vqa-fuse train --average-with ridge,kernel", ["ridge,kernel_ridge"]),
        ("vqa-fuse train --protocol k", ["kfold"]),
        ("vqa-fuse train --preset off", ["offline"]),
        ("vqa-fuse train --preset my", ["file"]),
        ("vqa-fuse runs runs/f", ["runs/first"]),
        ("vqa-fuse train --dataset ", ["toy"]),
        ("vqa-fuse train --cache nowhere --dataset ", []),
        ("vqa-fuse compare ", ["runs/abl", "runs/first"]),
        ("vqa-fuse compare runs/first runs/abl/o", ["runs/abl/one"]),
        ("vqa-fuse evaluate elsewhere/", ["elsewhere/third"]),
        ("vqa-fuse reproduce nothing", ["dir"]),
        ("vqa-fuse train --from runs/f", ["runs/first"]),
        ("vqa-fuse report runs/f", ["runs/first"]),
        ("vqa-fuse score clip.mp4 --run runs/f", ["runs/first"]),
        ("vqa-fuse score --model de", ["demo"]),
        ("vqa-extract --spatial conv", ["convnext"]),
        ("vqa-extract --sampler mot", ["motion"]),
        ("vqa-extract --dataset konvi", ["konvid", "konvid150k_a", "konvid150k_b"]),
        ("vqa-extract --dataset videos/", ["file"]),
        ("vqa-extract --hdr to", ["tonemap"]),
        ("vqa-data check livev", ["livevqc"]),
        ("vqa-cache export --dataset t", ["toy"]),
        ("vqa-cache export --to np", ["npz", "npy"]),
    ],
)
def test_values_are_offered(line: str, expected: list[str], folder: Path) -> None:
    assert offered(line, folder) == expected


def test_tracks_of_the_cache_are_offered_on_the_side_that_they_are_of(folder: Path) -> None:
    spatial = offered("vqa-fuse train --dataset toy --spatial ", folder)
    temporal = offered("vqa-fuse train --temporal ", folder)
    assert "all" in spatial and "all" in temporal
    assert len(spatial) > 1 and len(temporal) > 1
    elsewhere = offered("vqa-fuse train --spatial ", folder.parent, VQA_CACHE=str(folder / "cache"))
    assert elsewhere == spatial


def parameters(command: click.Command) -> Iterator[tuple[str, click.Parameter]]:
    if isinstance(command, click.Group):
        for name, inside in command.commands.items():
            yield from ((f"{name} {where}", each) for where, each in parameters(inside))
    else:
        yield from ((f"{each.name}", each) for each in command.params)


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_option_that_names_something_is_completed(program: str) -> None:
    named = {"SPEC", "SPECS", "TRACK", DATASET}
    found = {
        where: each
        for where, each in parameters(PROGRAMS[program])
        if each.metavar in named or where.rpartition(" ")[2] in NAMED
    }
    assert found
    lacking = [where for where, each in found.items() if each._custom_shell_complete is None]
    assert not lacking


SHELLS = {
    "bash": "source ~/.bashrc; COMP_WORDS=(vqa-fuse train --fusion dy); COMP_CWORD=3; "
    '_vqa_fuse_completion vqa-fuse; echo "${COMPREPLY[@]}"',
    "zsh": "zmodload zsh/zpty; zpty shell zsh -i; zpty -w shell 'bindkey \"^I\" complete-word'; "
    "sleep 2; zpty -n -w shell $'vqa-fuse train --fusion dy\\t'; zpty -r shell out '*dynamic*'; "
    'print -r -- "$out"',
    "fish": 'complete -C "vqa-fuse train --fusion dy"',
}


@pytest.mark.long
@pytest.mark.parametrize("shell", SHELLS)
def test_lines_of_the_page_turn_it_on(shell: str, folder: Path, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    lines = re.search(rf"^```{shell}\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert lines is not None
    environment = {**os.environ, "HOME": str(tmp_path), "PATH": f"{BIN}:{os.environ['PATH']}"}
    for text in (lines[1], SHELLS[shell]):
        done = subprocess.run(
            [shell, "-c", text],
            env=environment,
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
    assert "dynamic" in done.stdout
