"""Keras 3: models on any of its backends, with the user's own layers."""
