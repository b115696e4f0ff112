"""Which names of arrays and columns in a feature file say that they are labels, not features."""

from __future__ import annotations

import re

# in such names a word of its own: "MOS", "realigned MOS", "mos_std"
OPINION = {"mos", "dmos", "sos"}
# beside one of them these say that it is a prediction: "pred_mos"
PREDICTED = {"pred", "predicted", "prediction", "predictions"}
# and these alone are scores of a model in a table of such
SCORES = {"score", "scores"}
# the whole name
LABELS = {
    "ground_truth",
    "label",
    "labels",
    "opinion",
    "opinions",
    "rating",
    "ratings",
    "score",
    "scores",
    "subjective_score",
    "subjective_scores",
}


def is_label(name: str, label: str) -> bool:
    """Whether ``name`` says that it is an opinion score, as ``MOS``, ``mos_std`` and ``scores`` do;
    ``label`` is what the dataset calls its own.
    """
    said = _plain(name)
    return bool(OPINION & set(said.split("_"))) or said in LABELS or said == _plain(label)


def is_opinion(name: str, label: str) -> bool:
    """The same in a table of scores, where ``score`` and ``pred_mos`` are what is looked for."""
    said = _plain(name)
    words = set(said.split("_"))
    if said in SCORES or PREDICTED & words:
        return False
    return bool((OPINION | {"gt"}) & words) or is_label(name, label)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "_", name.casefold()).strip("_")
