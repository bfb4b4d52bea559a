"""Keras takes its backend once per process: torch, unless the environment says another."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")
