"""From frames to features: batches, networks, and back to videos. Never imports av."""
