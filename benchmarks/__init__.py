"""Side-by-side measurements; `make bench-<name>` runs one. Never part of the tests."""
