"""Trains R1-Ranker policies and keeps them in production."""

import os

# bm25s computes with JAX where that is installed, at its import, and JAX then takes three quarters of a GPU's
# memory from all that trains there.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
