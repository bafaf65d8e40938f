"""Use cases: load, decide, save in one transaction, then wake the sender. One file for each resource.

Every public call of a person takes the principal and demands one permission; calls of the hub name the instance that its
certificate proved.
"""
