"""Ctrl-C ends a command, whatever a library makes of it on its way."""

from __future__ import annotations

import pytest

from vqa_twostage.pipeline.errors import raise_interrupt


def caught(cause: BaseException | None, text: str) -> Exception:
    """An error as it arrives, raised from ``cause``."""
    try:
        raise TypeError(text) from cause
    except TypeError as error:
        return error


@pytest.mark.parametrize(
    "error",
    [
        caught(KeyboardInterrupt(), "set_() failed"),
        caught(caught(KeyboardInterrupt(), "inner"), "outer"),
        caught(None, 'failed to unpack with error "KeyboardInterrupt: <EMPTY MESSAGE>"'),
    ],
    ids=["its cause", "the cause of its cause", "in its text"],
)
def test_error_that_was_an_interruption_is_one_again(error: Exception) -> None:
    with pytest.raises(KeyboardInterrupt):
        raise_interrupt(error)


def test_other_error_is_left_to_its_handler() -> None:
    raise_interrupt(caught(ValueError("x"), "y"))
