"""Baselines without a network, which a head must beat: a vector a video in, a score out."""
