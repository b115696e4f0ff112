"""What a track of features is: every choice that changes a feature, and nothing else.

Two tracks with equal identities hold interchangeable features; their digest names the file. Batch
size, device and the number of workers change no feature and are left out; where weights lie is
replaced by a digest of what they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple, get_args

from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.spec import Plugin, Spec

# `score`: what a published model says of each video, which no head reads as a feature
Kind = Literal["spatial", "temporal", "score"]

# what may differ between tracks of two datasets that one model reads: imported features come from
# other files, and raw video has another size
OF_ANOTHER_DATASET = frozenset({"source", "key", "rows", "raw"})
# what may differ between the features that a model was trained on and those that it scores:
# `raw` only says that the files had no container
OF_A_SCORED_VIDEO = frozenset({"raw"})
# what two tracks must share for their frames to be the same frames
SAMPLING = ("sampler", "sampler_version", "sampler_digest")


# how people call the fields whose values say nothing to them
DIGESTS = {
    "weights": "the weights",
    "sampler_digest": "the file that the sampler reads",
    "source": "the file that was imported",
    "rows": "which row is which video",
}

# and those whose names say too little
NAMED = {"raw": "raw format", "trained_on": "datasets of opinions"}

# an option that was added after a file was written (`pipeline.spec.ADDED`)
UNWRITTEN = "its default"


class Difference(NamedTuple):
    """A field in which two identities differ, and what each says."""

    field: str
    ours: object
    theirs: object

    def __str__(self) -> str:
        if self.field in DIGESTS:
            return DIGESTS[self.field]
        if isinstance(self.ours, Spec) and isinstance(self.theirs, Spec):
            ours, theirs = self.ours.options, self.theirs.options
            if self.ours.name == self.theirs.name:
                return ", ".join(
                    f"{key} of the {self.field} "
                    f"({ours.get(key, UNWRITTEN)} and {theirs.get(key, UNWRITTEN)})"
                    for key in {**ours, **theirs}
                    if ours.get(key) != theirs.get(key)
                )
        name = NAMED.get(self.field, self.field.replace("_", " "))
        return f"the {name} ({self.ours or 'none'} and {self.theirs or 'none'})"


@dataclass(frozen=True)
class TrackIdentity:
    """The identity of one track; a field that does not apply is empty.

    ``extractor`` and ``sampler`` are full specs (`Plugin.portable_spec`), ``weights`` and
    ``sampler_digest`` digests of file contents, ``decoding_version`` the number of the way in which
    files become pixels (`extract.decoding.video.DECODING_VERSION`), ``raw`` the format of files
    without a container, ``hdr`` what became of HDR video where it was not tone-mapped. Versions of
    libraries are no part of it: they are recorded beside a track.
    Imported features instead have ``source`` (digest of their file), ``key`` (the array in it),
    ``columns``, and ``rows`` (digest of which row is which video); of scores in a table ``key`` is
    the column of names. ``trained_on`` names the datasets from whose opinions they learnt, sorted
    and joined by commas; empty for none.
    """

    kind: Kind
    extractor: Spec
    sampler: Spec
    extractor_version: int = 1
    sampler_version: int = 1
    weights: str = ""
    preprocessing: str = ""
    decoding_version: int = 0
    precision: str = ""
    sampler_digest: str = ""
    raw: str = ""
    hdr: str = ""
    source: str = ""
    key: str = ""
    columns: str = ""
    rows: str = ""
    trained_on: str = ""

    @property
    def opinions(self) -> tuple[str, ...]:
        """The datasets from whose opinions the features learnt."""
        return tuple(self.trained_on.split(",")) if self.trained_on else ()

    @property
    def imported(self) -> bool:
        """Whether another program made the features."""
        return bool(self.source)

    @property
    def digest(self) -> str:
        """Ten hexadecimal digits: equal identities, equal digests, on any machine."""
        return hashlib.sha256(self.to_text().encode()).hexdigest()[:10]

    def differences(
        self, other: TrackIdentity, ignoring: Collection[str] = frozenset()
    ) -> list[Difference]:
        """The fields in which ``self`` ("ours") and ``other`` ("theirs") differ."""
        return [
            Difference(field.name, getattr(self, field.name), getattr(other, field.name))
            for field in fields(self)
            if field.name not in ignoring
            and getattr(self, field.name) != getattr(other, field.name)
        ]

    def differs_in(self, other: TrackIdentity) -> str:
        """The differences in words, "the weights, the precision (fp32 and bf16 torch)"; "" for
        none.
        """
        return ", ".join(map(str, self.differences(other)))

    def to_json(self) -> dict[str, Any]:
        """Plain values; empty fields are left out."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        plain = {
            name: str(value) if isinstance(value, Spec) else value for name, value in values.items()
        }
        return {name: value for name, value in plain.items() if value not in ("", 0)}

    def to_text(self) -> str:
        """The one text of an identity, as a track file holds it."""
        return json.dumps(self.to_json(), sort_keys=True)

    @classmethod
    def from_json(cls, document: Mapping[str, Any], where: str) -> TrackIdentity:
        """What `to_json` gave; UsageError, in the name of the file ``where``, for anything else."""
        known = {field.name: field for field in fields(cls)}
        unknown = sorted(set(document) - set(known))
        if unknown:
            raise UsageError(f"{where}: an identity has no field {', '.join(unknown)}")
        values: dict[str, Any] = {}
        for name, value in document.items():
            wanted = int if name.endswith("_version") else str
            if type(value) is not wanted:
                raise UsageError(
                    f"{where}: {name} = {value!r} of an identity is no {wanted.__name__}"
                )
            values[name] = spec.parse(str(value)) if name in ("extractor", "sampler") else value
        missing = [name for name in ("kind", "extractor", "sampler") if name not in values]
        if missing:
            raise UsageError(f"{where}: an identity lacks {', '.join(missing)}")
        if values["kind"] not in get_args(Kind):
            raise UsageError(
                f"{where}: unknown kind {values['kind']!r}; choose from {', '.join(get_args(Kind))}"
            )
        if "trained_on" in values and parse_opinions(values["trained_on"]) != values["trained_on"]:
            raise UsageError(
                f"{where}: trained_on = {values['trained_on']!r} of an identity is "
                "no sorted list of small letters"
            )
        return cls(**values)


def parse_opinions(text: str) -> str:
    """``MaxWell,lsvq`` -> ``lsvq,maxwell``: names of datasets in small letters, sorted, each once;
    UsageError for anything but names joined by commas.
    """
    names = text.lower().split(",")
    for name in names:
        if not name or not name.isprintable() or any(map(str.isspace, name)):
            raise UsageError(
                f"{text!r} are not names of datasets joined by commas, without blanks, as in "
                "lsvq,maxwell"
            )
    return ",".join(sorted(set(names)))


def spec_of_extractor(plugin: Plugin) -> Spec:
    """How an identity names an extractor: every option, but not where its weights lie.

    Random weights (``weights=none``) are named, since nothing else says that they are random.
    """
    named = plugin.portable_spec
    return named if plugin.options.get("weights") == "none" else named.without("weights")


def name_of_extractor(plugin: Plugin) -> str:
    """How files and people call an extractor: the options that are not the default."""
    named = plugin.short_spec
    shown = named if plugin.options.get("weights") == "none" else named.without("weights")
    return shown.filename
