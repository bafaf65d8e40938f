"""The REST interface: one file per resource, thin views over the services.

A view parses, calls one service function and shapes the answer; its permission stands beside it. Nothing here decides
anything about deployments, and nothing here reads the store.
"""
