"""What runs beside the service, generated from the objectives of ``service.monitoring``."""
