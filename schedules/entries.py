"""What a cron entry may be, for whoever reads one: a request, a manifest. Pure."""

import re

NAME = re.compile(r"[a-z][a-z0-9-]{0,28}")
NAME_ISSUE = "the name must be a letter, then up to 28 of a-z, 0-9 and -"
MAX_ENTRIES = 20
OVERLAPS = ("skip", "allow", "replace")
REQUIRED = ("schedule", "command")
SHORTEST_S, LONGEST_S = 1.0, 86400.0  # of a timeout
