"""Temporal models: a frame's features depend on its neighbours."""

from vqa_twostage.extract.extractor import view as shared

__all__ = ["shared"]
