"""The agent's journal: what must survive a kill of the agent or a reboot of the host."""
