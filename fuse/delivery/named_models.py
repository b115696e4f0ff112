"""Models by name: those of the registry (`model_cards.py`), and any that the hub holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from vqa_twostage.fuse.delivery.model_cards import FOLDER, HUB, model_cards
from vqa_twostage.fuse.learning import scorer_file
from vqa_twostage.fuse.learning.scorer import Scorer
from vqa_twostage.pipeline.errors import UsageError, close_to


def load_named(name: str, folder: Path = FOLDER) -> Scorer:
    """The model ``name`` of the registry, or of the hub: ``hub:OWNER/NAME``, at a branch, a tag or
    a commit with ``@REVISION`` behind it.

    UsageError where there is none, or where the hub cannot be reached and this machine has no copy.
    """
    if name.startswith(HUB):
        return _load_from_hub(name)
    cards = model_cards(folder)
    if name not in cards:
        raise UsageError(
            f"unknown model {name!r}; choose from {', '.join(cards)}, or name one of the hub as "
            f"{HUB}OWNER/NAME; a run or an exported folder is given with --run"
            f"{close_to(name, cards)}"
        )
    card = cards[name]
    if isinstance(card.source, str):
        scorer = _load_from_hub(card.source)
    else:
        scorer = scorer_file.load_file(card.source)
    return replace(scorer, agreement=card.agreement)


def _load_from_hub(name: str) -> Scorer:
    from vqa_twostage.fuse.delivery.hub_download import fetch_model

    repository, _, revision = name.removeprefix(HUB).partition("@")
    return scorer_file.load_file(fetch_model(repository, revision or None))
