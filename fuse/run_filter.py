"""Which of many runs are meant: ``fusion=dynamic``, ``dataset=konvid``, ``seed=3``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches

from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.run_record import RunRecord, RunSpecs
from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.errors import UsageError

SPECS = tuple(field.name for field in fields(RunSpecs))
OPTIONS = tuple(field.name for field in fields(TrainOptions))
KEYS = ("dataset", *dict.fromkeys((*SPECS, *OPTIONS)))


@dataclass(frozen=True)
class RunFilter:
    """Runs of which each of the keys has the value that is asked for; a key that is asked for
    twice, one of the values.
    """

    wanted: dict[str, set[str]]

    @staticmethod
    def of(texts: Sequence[str]) -> RunFilter:
        """Of texts as ``fusion=dynamic``; UsageError where one has no such key.

        Keys are ``dataset`` and those of a run's specs and options, also as they are typed:
        ``temporal-encoder``. A spec is meant by its name, ``dynamic``, or as a whole,
        ``dynamic:experts=2``; ``none`` is an option that was left out.
        """
        wanted: dict[str, set[str]] = {}
        for text in texts:
            typed, equals, value = text.partition("=")
            key = typed.strip().replace("-", "_")
            if not equals or key not in KEYS:
                close = get_close_matches(key, KEYS, 1)
                meant = f"; did you mean {close[0]}?" if close else ""
                raise UsageError(
                    f"--filter {text}: give KEY=VALUE, as fusion=dynamic, with a key of "
                    f"{', '.join(KEYS)}{meant}"
                )
            wanted.setdefault(key, set()).add(value.strip())
        return RunFilter(wanted)

    def keeps(self, record: RunRecord) -> bool:
        return all(values & values_of(record, key) for key, values in self.wanted.items())


def values_of(record: RunRecord, key: str) -> set[str]:
    """All that a key of a run may be called: as it was asked for, as it was resolved, and of a spec
    its name.
    """
    found: list[object] = [record.dataset] if key == "dataset" else []
    found += [getattr(record.specs, key)] if key in SPECS else []
    if key in OPTIONS:
        option = getattr(record.options, key)
        found += option if isinstance(option, tuple) else [option]
    if key == "fusion" and record.options.baseline is not None:
        found = [record.specs.fusion]  # the option is unused
    texts = {"none" if value in (None, "") else str(value) for value in found}
    texts |= {text.lower() for text in texts if text in ("True", "False")}
    return texts | {name for text in texts if (name := _name(text))}


def _name(text: str) -> str:
    try:
        return spec.parse(text).name
    except UsageError:
        return ""
