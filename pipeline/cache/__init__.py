"""The feature cache: the only place that opens HDF5 files of this program."""

# the environment variable that names the cache wherever --cache does not
CACHE_VARIABLE = "VQA_CACHE"
