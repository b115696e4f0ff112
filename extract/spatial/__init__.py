"""Spatial backbones: each frame on its own."""

from extract.options import view as shared

__all__ = ["shared"]
