"""Stage one: frozen backbones over sampled frames, once; their features go into the cache."""
