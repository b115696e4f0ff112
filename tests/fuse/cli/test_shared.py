"""Options that several commands share are read as a user means them."""

from __future__ import annotations

import click
import pytest

from vqa_twostage.fuse.cli.shared import AXES, ByteSize


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8GB", 8 * 10**9),
        ("8 gb", 8 * 10**9),
        ("1.5G", 15 * 10**8),
        ("500MB", 5 * 10**8),
        ("20KB", 20_000),
        ("2e9", 2 * 10**9),
        ("12345", 12345),
        ("0", 0),
    ],
)
def test_size_is_read_in_bytes(text: str, size: int) -> None:
    assert ByteSize().convert(text, None, None) == size


@pytest.mark.parametrize("text", ["", "much", "8 elephants", "-8GB", "1.2.3GB", "8GBGB", "1e999"])
def test_what_is_no_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a size; give one such as 8GB or 500MB"):
        ByteSize().convert(text, None, None)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ([], ()),
        (["--axes", "technical"], ("technical",)),
        (["--axes", "technical, aesthetic,"], ("technical", "aesthetic")),
        (["--axes", "technical", "--axes", "aesthetic"], ("technical", "aesthetic")),
    ],
)
def test_axes_are_given_as_a_list_or_one_by_one(words: list[str], names: tuple[str, ...]) -> None:
    @click.command()
    @AXES
    def command(axes: tuple[str, ...]) -> tuple[str, ...]:
        return axes

    assert command.main(words, standalone_mode=False) == names
