"""Protocols besides our own: what they call a request and an answer, and what the model gets and gives.

The front only knows a protocol's routes, and passes on what headers say; bodies are read and written in the
worker.
"""
