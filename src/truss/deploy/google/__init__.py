"""Google Cloud: Cloud Run, and Vertex AI."""
