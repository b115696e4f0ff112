"""Networks that no library we use maintains."""
