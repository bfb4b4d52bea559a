"""One folder per peer: its record in `__init__.py`, and the server it runs, written as its users would."""
