"""Backup, archive, restore and export: the history outside of MLflow."""
