"""What is measured about cost and speed, reproducible by a reader."""
