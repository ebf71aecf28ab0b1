"""Sequential drift detection from counters: what changed, since when, with a bounded error rate."""
