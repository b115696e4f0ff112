"""What the site takes from the code: lines ``<!-- plugins: KIND -->`` and ``<!-- presets -->`` become tables."""

from __future__ import annotations

import re
from typing import Any

from pipeline import presets, spec


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by MkDocs for each page."""
    markdown = re.sub(r"<!-- plugins: ([\w.]+) -->", lambda match: plugins(match[1]), markdown)
    return markdown.replace("<!-- presets -->", chosen_by_presets())


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
        cells = (", ".join(f"`{key}={_plain(value)}`" for key, value in options.items()) for options in told.values())
        rows.append(f"| `{name}` | {line} | {' | '.join(cells)} |")
    return "\n".join(["| name | what it is | to `vqa-extract` | to `vqa-fuse train` |", "|---|---|---|---|", *rows])


def _plain(value: Any) -> str:
    return " ".join(value) if isinstance(value, (list, tuple)) else str(value)
