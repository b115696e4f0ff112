"""What the site takes from the code, for lines such as ``<!-- plugins: fuse.fusion -->`` in its
pages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import click

from vqa_twostage.pipeline import presets, spec

WIDTH = 90  # of a help text


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by MkDocs for each page."""
    markdown = re.sub(r"<!-- plugins: ([\w.]+) -->", lambda match: plugins(match[1]), markdown)
    markdown = re.sub(
        r"<!-- command: (\S+) ([\w.]+) (\w+) -->", lambda match: command(*match.groups()), markdown
    )
    return markdown.replace("<!-- presets -->", chosen_by_presets())


def command(name: str, module: str, attribute: str) -> str:
    """What ``--help`` prints of a command and of all commands inside it, each below a heading."""
    return "\n".join(_helps(name, getattr(import_module(module), attribute), None))


def _helps(name: str, inside: click.Command, parent: click.Context | None) -> Iterator[str]:
    # a context knows the names before its own; wide enough for the longest example
    context = click.Context(
        inside, info_name=name, parent=parent, max_content_width=WIDTH, terminal_width=WIDTH
    )
    yield (
        f"{'##' if parent is None else '###'} "
        f"{context.command_path}\n\n```text\n{inside.get_help(context)}\n```\n"
    )
    for word, further in sorted(getattr(inside, "commands", {}).items()):
        yield from _helps(word, further, context)


def plugins(kind: str) -> str:
    """Name, description, and options with their defaults of each plug-in of a package."""
    rows = []
    for name, line in spec.available(kind).items():
        options = ", ".join(f"`{key}={value}`" for key, value in spec.defaults(kind, name).items())
        rows.append(f"| `{name}` | {line.replace('|', '/')} | {options} |")
    return "\n".join(["| name | what it is | options and their defaults |", "|---|---|---|", *rows])


def chosen_by_presets() -> str:
    """What each preset says to both stages."""
    rows = []
    for name, line in presets.available().items():
        told = {stage: presets.load(name, stage) for stage in ("extract", "fuse")}
        cells = (
            ", ".join(f"`{key}={_plain(value)}`" for key, value in options.items())
            for options in told.values()
        )
        rows.append(f"| `{name}` | {line} | {' | '.join(cells)} |")
    return "\n".join(
        [
            "| name | what it is | to `vqa-extract` | to `vqa-fuse train` |",
            "|---|---|---|---|",
            *rows,
        ]
    )


def _plain(value: Any) -> str:
    return " ".join(value) if isinstance(value, (list, tuple)) else str(value)
