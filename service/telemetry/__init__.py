"""The only writer of metrics, and reading them back across workers."""
