"""Protocols: how the videos of a dataset are divided into training, validation and test."""
