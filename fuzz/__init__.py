"""Hostile input made by machines: what readers and the API are given, and the law that holds."""
