"""scikit-learn: estimators, pipelines and whatever derives from them."""
