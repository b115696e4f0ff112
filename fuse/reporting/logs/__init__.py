"""Programs that keep experiments, a file for each name of ``--log`` (`fuse.reporting.run_log`)."""
