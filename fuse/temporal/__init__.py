"""Temporal encoders: the tokens of all frames to one vector a video."""
