"""SavedModels, modules and functions of TensorFlow."""
