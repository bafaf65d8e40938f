"""dployr for people: the Python client, the command line on it, and the single-machine stack of `dployr up`.

Knows the daemons by their commands and the wire by its REST contract only; never imports either daemon.
"""
