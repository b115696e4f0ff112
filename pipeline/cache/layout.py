"""Where things lie in a cache: ``<cache>/<dataset>/<sampler>/<extractor>-<digest>.h5``.

Beside the tracks of a dataset lies its ``manifest.json``, so that stage two needs nothing but the
cache.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.files import write_text
from vqa_twostage.pipeline.identity import TrackIdentity
from vqa_twostage.pipeline.versions import library_versions

if TYPE_CHECKING:
    from vqa_twostage.pipeline.datasets.manifest import Manifest  # pandas

MANIFEST = "manifest.json"
EXTRACTION = "extraction.json"
SUFFIX = ".h5"
# of the name of a sampler or an extractor, before the digest: file systems allow 255 bytes
LONGEST = 200


@dataclass(frozen=True, order=True)
class TrackPath(os.PathLike[str]):
    """The place of a track: ``sampler`` is a folder's name, ``stem`` a file's without ``.h5``."""

    cache: Path
    dataset: str
    sampler: str
    stem: str

    @classmethod
    def of(cls, cache: Path, dataset: str, name: str, identity: TrackIdentity) -> TrackPath:
        """Of an extractor that files call ``name``; its identity's digest makes the path unique."""
        sampler = identity.sampler.filename[:LONGEST]
        return cls(cache, dataset, sampler, f"{name[:LONGEST]}-{identity.digest}")

    @classmethod
    def parse(cls, path: Path) -> TrackPath:
        """The place that a path names; UsageError where it cannot be one of a cache."""
        if path.suffix != SUFFIX or len(path.parts) < 3:
            raise UsageError(f"{path} is no track: it must be CACHE/DATASET/SAMPLER/NAME{SUFFIX}")
        sampler = path.parent
        return cls(sampler.parent.parent, sampler.parent.name, sampler.name, path.stem)

    @property
    def path(self) -> Path:
        return self.cache / self.dataset / self.sampler / f"{self.stem}{SUFFIX}"

    @property
    def name(self) -> str:
        """The extractor's name, without the digest."""
        return re.sub(r"-[0-9a-f]{10}$", "", self.stem)

    def in_cache(self, cache: Path) -> TrackPath:
        """The same track in another cache."""
        return TrackPath(cache, self.dataset, self.sampler, self.stem)

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)


def tracks(cache: Path, dataset: str) -> list[TrackPath]:
    """The tracks of a dataset, sorted."""
    return sorted(TrackPath.parse(path) for path in (cache / dataset).glob(f"*/*{SUFFIX}"))


def datasets(cache: Path) -> list[str]:
    """Datasets that have a manifest in the cache, sorted."""
    return sorted(path.parent.name for path in cache.glob(f"*/{MANIFEST}"))


def manifest_path(cache: Path, dataset: str) -> Path:
    return cache / dataset / MANIFEST


def extraction_path(cache: Path, dataset: str) -> Path:
    """The record of the last extraction: options, versions, identities, what failed."""
    return cache / dataset / EXTRACTION


def provenance(manifest: Manifest | None = None) -> dict[str, str]:
    """What a track records beside its identity when it is created; it changes no feature.

    Without a manifest, of videos that belong to no dataset.
    """
    versions = {f"version {name}": version for name, version in library_versions().items()}
    return versions if manifest is None else {"manifest": manifest.digest, **versions}


def write_manifest(cache: Path, manifest: Manifest) -> None:
    """Keeps the manifest beside its features, in the place of what is there."""
    write_text(manifest_path(cache, manifest.name), manifest.to_json())


def load_cached_manifest(cache: Path, dataset: str) -> Manifest:
    """The manifest that a cache keeps; UsageError where it is missing, damaged or edited."""
    from vqa_twostage.pipeline.datasets.manifest import Manifest

    path = manifest_path(cache, dataset)
    try:
        manifest = Manifest.from_json(path.read_text(encoding="utf-8"))
        if manifest.name != dataset:  # which names folders that are written
            raise UsageError(f"it is of a dataset called {manifest.name!r}")
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist; run vqa-extract --cache {cache} first") from None
    except (UsageError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} cannot be used: {error}. Labels change in the dataset's own files; remove "
            "this one and run vqa-extract again, features stay"
        ) from None
    return manifest
