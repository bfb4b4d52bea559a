"""Azure: Container Apps, and Machine Learning."""
