"""Spatial backbones: each frame on its own."""
