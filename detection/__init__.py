"""What the files of a source say of it: runtime, version, build, start. Pure but for tree.py, which reads the files.

Shared by the host's agent, which deploys by it, and the command line, which shows it; it knows neither.
"""
