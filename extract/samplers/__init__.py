"""Samplers: which frames of a video are looked at."""
