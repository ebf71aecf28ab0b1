"""Users in groups: what is randomised are users, so evidence is held against their variance."""

CELLS = 64
"""Users are divided into so many cells by hash, independently of the variant they are given."""
