"""sentence-transformers: models that make a vector of a text, and models that score pairs of texts."""
