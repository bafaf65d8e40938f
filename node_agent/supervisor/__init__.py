"""The privileged neighbour of the agent: a process of its own that owns processes, jobs, the managed nginx and raw logs.

It must never die and never grow: standard library and the pure modules only, one `selectors` loop, a closed set of
verbs. The rest of the agent may import `protocol` and nothing else of it.
"""

VERSION = "0.1.0"
