"""Names to addresses, in the words of a delivery."""

from collections.abc import Sequence

from addresses.names import Names
from control_plane import errors


class SystemResolver:
    """Asks as the machine does. A failure is an UnavailableError: it is tried again."""

    def __init__(self) -> None:
        self._names = Names()

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        try:
            return await self._names.resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise errors.UnavailableError(f"cannot resolve {host}: {_words(error)}") from error


def _words(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else "") or "not a name"
