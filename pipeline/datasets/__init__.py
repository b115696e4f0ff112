"""A dataset as its authors publish it -> a `Manifest`, one row a video."""
