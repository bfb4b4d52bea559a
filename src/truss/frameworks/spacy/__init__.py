"""spaCy: pipelines, with the components you wrote for them."""
