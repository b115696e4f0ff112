"""Names that move: `files`, `versions` and `cache.layout` own them. Deleted when all callers have
moved.
"""

from vqa_twostage.pipeline.cache.layout import (
    load_cached_manifest,
    save_manifest,
)
from vqa_twostage.pipeline.cache.layout import provenance as about
from vqa_twostage.pipeline.files import read_json, write_json, write_text
from vqa_twostage.pipeline.versions import library_versions as versions

__all__ = [
    "about",
    "load_cached_manifest",
    "read_json",
    "save_manifest",
    "versions",
    "write_json",
    "write_text",
]
