"""The registry of models that have a name: a TOML each in ``fuse/delivery/heads``. No torch here.

It holds ``about`` (a line), ``license``, ``card`` (what the model learnt from, what it is good
for), where its weights are (``file``, beside it; or ``hub = "OWNER/NAME"`` with the ``revision``, a
commit), and under ``[opinions]`` how its scores agree with those of viewers: ``dataset``,
``videos``, ``srcc``. A new TOML is a new model.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqa_twostage.fuse.metrics import srcc_interval
from vqa_twostage.fuse.video_score import Agreement
from vqa_twostage.pipeline.errors import UsageError

FOLDER = Path(__file__).parent / "heads"
SHIPPED = "demo"
HUB = "hub:"
COMMIT = re.compile(r"[0-9a-f]{40}")
TEXTS = ("about", "license", "card")


@dataclass(frozen=True)
class ModelCard:
    """What the registry says of a model. ``source``: its file, or ``hub:OWNER/NAME@COMMIT``."""

    name: str
    about: str
    license: str
    card: str
    source: Path | str
    agreement: Agreement | None

    def to_text(self) -> str:
        """One line for ``vqa-fuse score --list``."""
        agreement = self.agreement
        known = "its agreement with opinions was not measured"
        if agreement is not None:
            known = (
                f"SRCC with opinions {agreement.srcc:.2f} on {agreement.videos} videos of "
                f"{agreement.dataset}"
            )
        return f"{self.name}: {self.about} ({self.license}); {known}"


def model_cards(folder: Path = FOLDER) -> dict[str, ModelCard]:
    """The models of the registry by their names; UsageError where a file of it is not as it must
    be.
    """
    return {path.stem: _read_card(path) for path in sorted(folder.glob("*.toml"))}


def _read_card(path: Path) -> ModelCard:
    try:
        document = tomllib.loads(path.read_text("utf-8"))
        return _card_of(path, document)
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} is no card of a model ({type(error).__name__}: {error}); it has about, "
            "license, card, and file or hub with revision"
        ) from None


def _card_of(path: Path, document: dict[str, Any]) -> ModelCard:
    about, license_of_weights, card = (str(document.pop(key)).strip() for key in TEXTS)
    opinions = document.pop("opinions", None)
    agreement = None if opinions is None else agreement_of(**opinions)
    source: Path | str
    if "hub" in document:
        repository, revision = document.pop("hub"), document.pop("revision")
        if not COMMIT.fullmatch(revision):
            raise ValueError(f"revision = {revision!r} is no commit of 40 digits")
        source = f"{HUB}{repository}@{revision}"
    else:
        source = path.with_name(document.pop("file"))
    if document:
        raise ValueError(f"unknown {', '.join(sorted(document))}")
    return ModelCard(path.stem, about, license_of_weights, card, source, agreement)


def agreement_of(dataset: str, videos: int, srcc: float) -> Agreement:
    """With the interval of `fuse.metrics.srcc_interval`; ValueError where it is undefined."""
    interval = srcc_interval(srcc, videos)
    if interval is None:
        raise ValueError(f"srcc = {srcc} over {videos} videos has no interval")
    return Agreement(dataset, videos, srcc, *interval)
