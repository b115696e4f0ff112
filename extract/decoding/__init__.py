"""From a video file to frames, in processes of their own. Never imports torch."""
