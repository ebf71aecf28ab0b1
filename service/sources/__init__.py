"""Adapters that yield snapshots and windows."""
