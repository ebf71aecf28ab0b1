"""Durable state: snapshots, baselines, leases, and small values, in SQLite or PostgreSQL."""
