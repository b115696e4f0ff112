"""Output in an encoding that lacks a character loses nothing and raises nothing."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_twostage.pipeline.encoding import HANDLER, SPELLED, any_encoding

ENCODINGS = ["ascii", "cp1252", "latin-1", "cp437", "cp932", "koi8-r", "utf-8"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_our_own_characters_are_spelled_where_they_are_lacking(encoding: str) -> None:
    with any_encoding():
        for character, spelled in SPELLED.items():
            written = character.encode(encoding, HANDLER).decode(encoding)
            assert written in (character, spelled)


@settings(deadline=None)
@given(st.text(), st.sampled_from(ENCODINGS))
def test_every_text_is_written_in_every_encoding(text: str, encoding: str) -> None:
    with any_encoding():
        text.encode(encoding, HANDLER)


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_utf_8_is_written_as_it_is(text: str) -> None:
    with any_encoding():
        assert text.encode("utf-8", HANDLER) == text.encode()


def test_names_of_files_can_be_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, "ascii", write_through=True))
    with any_encoding():
        sys.stdout.write("视频.mp4: 4.3 ± 0.1\n")
    assert raw.getvalue().decode().encode().decode("unicode_escape") == "视频.mp4: 4.3 +- 0.1\n"
    with pytest.raises(UnicodeEncodeError):  # as it was before
        sys.stdout.write("±")


def test_other_errors_of_codecs_are_not_hidden() -> None:
    with any_encoding(), pytest.raises(UnicodeDecodeError):
        b"\xff".decode("utf-8", HANDLER)


@pytest.mark.long
@pytest.mark.parametrize(
    "locale",
    [
        {"PYTHONIOENCODING": "cp1252"},
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=["cp1252", "ascii", "C"],
)
@pytest.mark.parametrize(
    "words",
    [
        ("fuse.cli", "vqa-fuse", "score", "--help"),
        ("fuse.cli", "vqa-fuse", "score", "视频±.mp4"),
        ("extract.cli", "vqa-extract", "--list"),
        ("pipeline.cli_cache", "vqa-cache", "info", "缓存"),
    ],
    ids=["help", "error", "list", "info"],
)
def test_commands_print_in_any_locale(
    locale: dict[str, str], words: tuple[str, ...], tmp_path: Path
) -> None:
    module, name, *arguments = words
    code = f"import sys; sys.argv[0] = {name!r}; from vqa_twostage.{module} import main; main()"
    process = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, **locale},
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert b"Traceback" not in process.stderr and process.stdout + process.stderr
    assert process.returncode in (0, 2, 3)
