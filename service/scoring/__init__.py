"""Scoring click logs offline; never loaded by the serving process."""
