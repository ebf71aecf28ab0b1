"""The pure core: readings in, judgements out; no clock, no I/O, no framework."""
