"""Hugging Face transformers: pipelines, models with their tokenizers or processors, models alone."""
