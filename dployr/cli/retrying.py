"""How long a command that follows something waits for a server that is away."""

from dployr import errors

RETRY_S = 1.0
PATIENCE_S = 60.0  # with a server that does not answer
TEMPORARY = frozenset({404, 429, 502, 503, 504})


def is_temporary(error: errors.DployrError) -> bool:
    """Whether the same request may get an answer a little later."""
    return isinstance(error, errors.Unreachable) or (isinstance(error, errors.ApiError) and error.status in TEMPORARY)
