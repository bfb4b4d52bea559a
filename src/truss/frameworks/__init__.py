"""Adapters: one per ML library, found through the registry. Packaging-time code only."""
