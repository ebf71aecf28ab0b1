"""Finds out why nothing shows up in MLflow; works where MLflow itself cannot be imported."""
