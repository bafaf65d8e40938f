"""Directories of services that outlive their releases, and their content."""

import contextlib
from collections.abc import Iterator

from dployr.client import answers, http
from dployr.client.answers import Json

SILENCE_S = 300.0  # of a backup: a large file may compress to little for a while
RESTORE_S = 1200.0  # the server answers when the volume is restored


class Volumes(http.Resource):
    def list(self, service: str) -> Iterator[Json]:
        return self._client.items(answers.path("/v1/services", service, "volumes"))

    @contextlib.contextmanager
    def backup(self, service: str, name: str) -> Iterator[Iterator[bytes]]:
        """The content of a volume, as a context that gives the bytes of a .tar.gz while they come.

        It is whole when the gzip stream is: whoever keeps it should look.
        """
        path = answers.path("/v1/services", service, "volumes", name, "archive")
        with self._client.download(path, SILENCE_S) as pieces:
            yield pieces

    def restore(self, service: str, name: str, data: bytes | Iterator[bytes]) -> Json:
        """Replace the content of a volume of a stopped service by a .tar.gz, .tar.zst or .zip; all of it or nothing."""
        path = answers.path("/v1/services", service, "volumes", name, "archive")
        return self._client.upload(path, data, "application/octet-stream", "PUT", RESTORE_S)
