"""A second opinion about a host: what runs, and what its logs hold, from /proc, cgroups and the files alone.

Imports nothing of the product, so that no mistake of the product can hide behind itself.
"""
