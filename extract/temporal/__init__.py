"""Temporal models: a frame's features depend on its neighbours."""

from extract.options import view as shared

__all__ = ["shared"]
