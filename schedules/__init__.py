"""When something is due again and again: the schedules that users write for cron entries, one grammar for all who read it."""
