"""In-memory twins of the ports: they ship, and pass the same contract suites as the real ones."""
