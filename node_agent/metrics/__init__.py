"""What this host and its services use: read with psutil, turned into rates, told as JSON and as Prometheus text."""
