"""Webhooks on their way out: the sender, and the one client that may call addresses which users chose."""
