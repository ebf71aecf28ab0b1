"""The prediction and monitoring service, one process per worker."""

__version__ = "0.1.0"
