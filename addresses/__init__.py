"""Which addresses may be called on behalf of a user: by webhooks of the control plane, by git on a host.

One list for both daemons, so that a network that is denied to one is denied to the other, and one lookup of names; it
knows neither.
"""
