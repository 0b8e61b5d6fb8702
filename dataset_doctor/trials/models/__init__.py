"""The models that are trained, by name: classifiers and detectors."""
