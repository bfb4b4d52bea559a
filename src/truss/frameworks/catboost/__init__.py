"""CatBoost: its scikit-learn estimators, and `CatBoost`."""
