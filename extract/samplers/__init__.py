"""Samplers: which frames of a video networks look at. Their contract is extract/sampler.py."""
