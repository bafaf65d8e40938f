"""Values and decisions of the host side. Standard library only, no I/O, no clock, no logging."""
