"""Spatial pooling: the stored arrays of each frame to one token a frame."""
