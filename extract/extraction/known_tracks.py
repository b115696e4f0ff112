"""The tracks that earlier extractions filled for the same options, known without their networks. No
torch here.

A track's identity holds the digest of its network's weights, so that only who loads them can name
it. The record of a dataset's extractions therefore keeps the tracks of each request. A request is
the options that name tracks, this program's own code, and the versions of the libraries, which
bring networks and weights. Where something else decides, a file of this machine or a plug-in of
another distribution, nothing is known.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from vqa_twostage.extract.options import ExtractOptions
from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.cache.layout import SUFFIX, TrackPath, extraction_path
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.files import read_json
from vqa_twostage.pipeline.raw_format import RawFormat
from vqa_twostage.pipeline.versions import library_versions

REQUESTS = "requests"
PROGRAM = Path(spec.__file__).parents[1]
Requests = dict[str, list[str]]
"""Digest of a request -> its tracks, as paths below the dataset's folder."""


def request_of(options: ExtractOptions, raw: RawFormat | None) -> str | None:
    """A digest of all that decides which tracks ``options`` name; None where this is not known.

    UsageError for a spec that names nothing.
    """
    extractors = [("extract.spatial", text) for text in options.spatial]
    extractors += [("extract.temporal", text) for text in options.temporal]
    # below float32 the runtime matters, and `auto` chooses it by the machine
    if options.precision != "fp32" or not all(
        spec.is_of_this_program(kind, text) and not _names_a_file(text)
        for kind, text in [*extractors, ("extract.samplers", options.sampler)]
    ):
        return None
    asked = [extractors, options.sampler, options.hdr, str(raw or "")]
    document = [*asked, library_versions(), _code_digest()]
    return hashlib.sha256(json.dumps(document).encode()).hexdigest()[:16]


def known_tracks(cache: Path, dataset: str, request: str | None) -> tuple[TrackPath, ...]:
    """The tracks of a request in the order of its specs; none where one of them is not known."""
    names = requests_of(cache, dataset).get(request or "", [])
    return tuple(TrackPath.parse(cache / dataset / name) for name in names)


def requests_of(cache: Path, dataset: str) -> Requests:
    """What the record keeps of requests whose tracks are all there."""
    folder = cache / dataset
    try:
        kept = read_json(extraction_path(cache, dataset)).get(REQUESTS, {})
    except UsageError:  # it is no more than a memory, and is written anew
        return {}
    return {
        request: names
        for request, names in (kept.items() if isinstance(kept, dict) else ())
        if _are_tracks(names) and all((folder / name).is_file() for name in names)
    }


def with_request(
    kept: Mapping[str, list[str]], request: str | None, tracks: Sequence[TrackPath]
) -> Requests:
    """``kept`` and the tracks of one more request."""
    if request is None:
        return dict(kept)
    return {**kept, request: [f"{track.sampler}/{track.path.name}" for track in tracks]}


def _are_tracks(names: object) -> bool:
    """Whether they are names of tracks in the dataset's folder, as a record should hold them."""
    return (
        isinstance(names, list)
        and bool(names)
        and all(isinstance(name, str) and _is_track(Path(name)) for name in names)
    )


def _is_track(name: Path) -> bool:
    inside = not name.is_absolute() and ".." not in name.parts
    return inside and len(name.parts) == 2 and name.suffix == SUFFIX


def _names_a_file(text: str) -> bool:
    values = spec.parse(text).options.values()
    return any(spec.is_local_path(value) or Path(value).exists() for value in values)


def _code_digest() -> str:
    digest = hashlib.sha256()
    for stage in ("extract", "pipeline"):
        for path in sorted((PROGRAM / stage).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()
