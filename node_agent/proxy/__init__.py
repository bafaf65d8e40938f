"""The managed nginx: what it shall say is rendered purely, and becomes live as one transaction.

Every change is a new directory of files. nginx runs on the one that `current` points to, and only the number that it
answers on a private socket counts as live. Nothing here parses nginx's configuration, ever.
"""
