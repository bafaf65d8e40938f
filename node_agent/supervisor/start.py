"""Where the supervisor starts: a Python without `site`, which saves memory for as long as it runs, and time.

Run by its path, never imported. The first argument is the directory that holds our packages, then comes the command
line as everyone knows it, its last words by their place.
"""

import sys

sys.path.insert(0, sys.argv[1])

from node_agent.supervisor import serving

try:
    sys.exit(serving.serve(*sys.argv[6:]))
except (OSError, ValueError) as error:
    sys.exit(f"cannot run the supervisor of {sys.argv[6]}: {error}")
