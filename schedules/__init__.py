"""When something is due again and again: what users write for cron entries, one grammar for all who read it."""
