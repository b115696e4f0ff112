"""Spatial pooling: the stored arrays of each frame to one token a level."""

from vqa_twostage.fuse.pooling._projection import shared as shared
