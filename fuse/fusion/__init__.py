"""Fusion: the spatial and the temporal vector of a video to one."""
