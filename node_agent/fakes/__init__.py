"""In-memory stand-ins for the ports, for tests of what uses them. Each passes the contract suite of its port."""
