"""Spatial backbones: each frame on its own."""

from vqa_twostage.extract.options import view as shared

__all__ = ["shared"]
