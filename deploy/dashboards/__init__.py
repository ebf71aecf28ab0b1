"""Grafana dashboards, written as code and committed as JSON in ``deploy/grafana/dashboards``."""
