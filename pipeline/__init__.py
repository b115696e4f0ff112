"""The contract that both stages share: specs, manifests, the cache, run records. No torch here."""
