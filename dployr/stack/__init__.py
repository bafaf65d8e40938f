"""The single-machine stack: both daemons and the supervisor as child processes of `dployr up`, on one data directory.

Starts the daemons by their commands only. What outlives `up` (supervisor, applications, nginx) is found again by its
command line, so there is no record that could be stale.
"""
