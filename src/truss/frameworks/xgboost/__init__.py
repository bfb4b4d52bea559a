"""XGBoost: its scikit-learn estimators, and `Booster`."""
