"""Spatial backbones: each frame on its own."""

from vqa_twostage.extract.extractor import view as shared

__all__ = ["shared"]
