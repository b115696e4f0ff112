"""A dataset as its authors publish it, read into a `Manifest` with one row for each video."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vqa_twostage.pipeline.datasets.loading import load_manifest as load_manifest
    from vqa_twostage.pipeline.datasets.manifest import Manifest as Manifest

__all__ = ["Manifest", "load_manifest"]


def __getattr__(name: str) -> object:
    # lazy: pandas takes half a second to import, and modules beside this one do without it
    if name == "Manifest":
        from vqa_twostage.pipeline.datasets.manifest import Manifest

        return Manifest
    if name == "load_manifest":
        from vqa_twostage.pipeline.datasets.loading import load_manifest

        return load_manifest
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
