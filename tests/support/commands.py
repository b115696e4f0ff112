"""Commands as a person types them, for several test files."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

BIN = Path(sys.executable).parent


def run(
    *words: str | Path, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    command = [BIN / str(words[0]), *map(str, words[1:])]
    kept = {key: value for key, value in os.environ.items() if key != "VQA_DATA"}
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**kept, **environment},
        timeout=240,
    )


def called(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """As `run`, but the script's function is called in this process, which has imported torch once
    for all tests.
    """
    (script,) = entry_points(group="console_scripts", name=str(words[0]))
    said, told = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said), redirect_stderr(told):
        patch.chdir(cwd)
        patch.delenv("VQA_DATA", raising=False)
        patch.setattr(sys, "argv", [str(word) for word in words])
        patch.setattr(warnings, "showwarning", warnings.showwarning)  # which a command replaces
        with pytest.raises(SystemExit) as stop:  # any other exception would be a traceback
            script.load()()
    assert isinstance(stop.value.code, int)
    return subprocess.CompletedProcess(words, stop.value.code, said.getvalue(), told.getvalue())


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The one JSON document that stdout must be."""
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found
