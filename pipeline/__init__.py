"""The contract that both stages share: specs, identities, manifests, features, the cache. No torch
here.
"""
