"""Pure values and decisions of the control plane: standard library and errors only; no I/O, no clock, no logging."""
