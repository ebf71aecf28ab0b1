"""The prediction and monitoring service, one process per worker."""
