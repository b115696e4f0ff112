"""Whose opinions are in the features that a figure rests on.

Features may come from networks that learnt from opinion scores. Of imported tracks their identity
says from which datasets (`pipeline.identity.TrackIdentity.trained_on`); everything that prints a
figure says it too. Where the dataset itself is among them no video is unseen, so such features are
refused unless they are allowed by name.

Heads that started from those of another run learnt from its dataset too, and that is said as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from vqa_twostage.fuse.run_record import RunIdentity, StartIdentity
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.identity import TrackIdentity


def names_of(identity: RunIdentity) -> list[str]:
    """The datasets from whose opinions the features of a run learnt, sorted."""
    return names_in([*identity.spatial, *identity.temporal])


def names_in(tracks: Iterable[TrackIdentity]) -> list[str]:
    """The same of some tracks."""
    return sorted({name for track in tracks for name in track.opinions})


def sentences(names: Sequence[str], dataset: str) -> list[str]:
    """What is said of a figure on ``dataset``: one sentence, or none without opinions."""
    if not names:
        return []
    sentence = f"its features learnt from opinions of: {', '.join(names)}"
    if dataset.lower() in names:
        sentence += f"; {dataset} is the dataset itself, so no video is unseen"
    return [sentence]


def sentences_of_start(start: StartIdentity | None) -> list[str]:
    """What is said of every figure of a run that started from another: one sentence, or none."""
    if start is None:
        return []
    return [
        f"training started from a run on {start.learnt_from[-1]}, so its heads learnt from "
        f"opinions of: {', '.join(start.learnt_from)}"
    ]


def sentences_of_rows(rows: Mapping[str, Sequence[str]], dataset: str) -> list[str]:
    """The same of a table: ``rows`` are the names of its rows, and the datasets of each."""
    said = {name: sentences(names, dataset) for name, names in rows.items()}
    if all(said.values()) and len({tuple(names) for names in rows.values()}) == 1:
        said = {"all rows": next(iter(said.values()))}
    return [f"{name}: {sentence}" for name, of_row in said.items() for sentence in of_row]


def of_joint_training(identity: RunIdentity, helped: int) -> list[str]:
    """What is said of a run whose heads may have learnt from the labels of other datasets, and did
    in ``helped`` splits: one sentence, or none.
    """
    if identity.joint is None:
        return []
    others = []
    for other in identity.joint:
        left = f" without the {other.left_out} that both have" * (other.left_out > 0)
        others.append(f"{other.dataset} ({other.videos} videos{left})")
    return [
        f"its heads learnt from the labels of other datasets as well: {', '.join(others)}, in "
        f"{helped} of {len(identity.splits)} splits, as the validation part of each decided"
    ]


def joint_names(identity: RunIdentity) -> list[str]:
    """The datasets from whose labels the heads of a run learnt beside its own."""
    return [other.dataset for other in identity.joint or ()]


def require_others(
    dataset: str, opinions: Mapping[str, Sequence[str]], allowed: str | None
) -> None:
    """UsageError where ``dataset``, which is trained or tested, is among the ``opinions`` that
    tracks learnt from (by the name of the track), and is not ``allowed``.
    """
    if allowed is not None and allowed.lower() == dataset.lower():
        return
    for track, names in opinions.items():
        if dataset.lower() in names:
            raise UsageError(
                f"{track} learnt from opinions of {', '.join(names)}, and {dataset} is the dataset "
                "of this figure: no video would be unseen; choose another track, or allow it by "
                f"name with --allow-trained-on {dataset}"
            )
