"""A webhook for Alertmanager that trains again when a model's drift persists."""
