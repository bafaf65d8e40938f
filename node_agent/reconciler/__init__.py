"""Observe, plan, execute: makes the host what the newest wish of each service says, and tells what it sees."""
