"""The wire between control plane and agents: the only thing both daemons share. Code is generated from agent.proto."""
