"""Configuration of Prometheus and Alertmanager: rules, alerts, routes."""
