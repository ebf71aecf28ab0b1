"""How fast the service is, beside others: what `make bench` runs first."""
