"""The contract that both stages share: specs, manifests, the cache, run records. No torch here."""

__version__ = "0.1.0"
