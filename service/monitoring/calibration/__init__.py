"""Do clicks come as often as predicted? A sequential test with a bounded rate of false alarms."""
