"""Temporal models: a frame's features depend on its neighbours."""
