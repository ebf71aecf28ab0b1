"""Writes what the counters say into MLflow runs, exactly once."""
