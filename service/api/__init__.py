"""HTTP in, HTTP out; no arithmetic."""
