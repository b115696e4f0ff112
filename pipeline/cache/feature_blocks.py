"""``--block``: a part of a feature file that becomes a track."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import cast

from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.identity import Kind
from vqa_twostage.pipeline.spec import NAME

BLOCK = re.compile(
    r"(?P<key>.+?)(?P<columns>:[0-9]{0,9}:[0-9]{0,9})?=(?P<kind>spatial|temporal)", re.DOTALL
)


@dataclass(frozen=True)
class Block:
    """An array of a file, its columns (``0:36``; None for all), and what they describe."""

    key: str
    columns: str | None
    kind: Kind

    def __str__(self) -> str:
        part = "" if self.columns is None else f":{self.columns}"
        return f"{self.key}{part}={self.kind}"

    def stored_name(self, columns: list[int] | None) -> str:
        """What its track is called: ``columns`` are those taken, None where they are all.

        ``brisque_sts`` -> ``brisque_sts_0_36``, as a name of tracks is spelt.
        """
        name = re.sub(r"[^a-z0-9]+", "_", self.key.lower()).strip("_")
        if NAME.fullmatch(name) is None:
            name = f"block_{name}".rstrip("_")
        return name if columns is None else f"{name}_{columns[0]}_{columns[-1] + 1}"


def parse_block(text: str) -> Block:
    """``brisque_sts:0:36=spatial``; UsageError for anything else."""
    found = BLOCK.fullmatch(text)
    if found is None:
        raise UsageError(
            f"--block {text} is not a block; give NAME=spatial or NAME=temporal, with NAME:FROM:TO "
            "for columns from 0, the end not included, as in brisque_sts:0:36=spatial"
        )
    columns = found["columns"]
    part = None if columns in (None, "::") else columns[1:]
    return Block(found["key"], part, cast(Kind, found["kind"]))
