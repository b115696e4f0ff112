"""Headers inside packets, read without decoding."""
