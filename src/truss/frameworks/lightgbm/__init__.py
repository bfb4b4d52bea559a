"""LightGBM: its scikit-learn estimators, and `Booster`."""
