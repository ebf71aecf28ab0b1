"""From a click log to model folders; never loaded by the serving process."""
