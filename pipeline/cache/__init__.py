"""The feature cache: the only place that opens HDF5 files of this program."""
