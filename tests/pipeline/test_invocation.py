"""What was typed is recorded as a line that a shell takes, and that every file can hold."""

from __future__ import annotations

import shlex

from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_twostage.pipeline.encoding import LONGEST
from vqa_twostage.pipeline.files import is_text
from vqa_twostage.pipeline.invocation import command_line, invocation, started_as

ANY_WORD = st.text(st.characters(exclude_characters="\0"))


@settings(deadline=None)
@given(st.lists(ANY_WORD.filter(str.isprintable)))
def test_command_line_is_split_by_a_shell_into_the_words_that_were_typed(words: list[str]) -> None:
    assert shlex.split(command_line(["/opt/bin/vqa-fuse", *words])) == ["vqa-fuse", *words]


@settings(deadline=None)
@given(st.lists(ANY_WORD | st.just("\udcff\x1b[2J\n")))
def test_command_line_of_any_words_is_a_text_that_files_and_terminals_take(
    words: list[str],
) -> None:
    line = command_line(["vqa-fuse", *words])
    assert is_text(line) and "\n" not in line and line.encode()


def test_command_line_of_a_module_is_what_is_typed_to_run_it() -> None:
    line = command_line(["/opt/site-packages/vqa_twostage/fuse/__main__.py", "runs"])
    assert line == "python -m vqa_twostage.fuse runs"


def test_command_line_that_is_too_long_is_cut_and_says_so() -> None:
    line = command_line(["vqa-fuse", "x" * (2 * LONGEST)])
    assert len(line) == LONGEST + 1 and line.endswith("…")


def test_invocation_is_what_was_started_first() -> None:
    inner = started_as("Python, train")(invocation)
    assert (invocation(), inner()) == ("Python", "Python, train")
    with started_as("vqa-fuse train"):
        assert inner() == "vqa-fuse train"
    assert invocation() == "Python"
