"""What an extraction is made of: tracks to fill, videos that they lack, and the one loop."""
