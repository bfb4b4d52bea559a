"""MLflow: models of any flavour, as Python functions (pyfunc)."""
