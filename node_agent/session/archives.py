"""Uploaded sources on their way from the control plane: each on a call of its own, verified before it is believed."""

import asyncio
import contextlib
import hashlib
import pathlib

import grpc
import structlog

from node_agent.errors import ReleaseFailedError
from protos import agent_pb2 as pb
from protos import agent_pb2_grpc as rpc

log = structlog.get_logger()

MAX_BYTES = 2 << 30
FINAL = frozenset({grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INVALID_ARGUMENT})


class HubArchives:
    """Implements ports.Archives over the session's connection; a build waits for one for `fetch_s` in all."""

    def __init__(self, fetch_s: float = 300.0, retry_s: float = 1.0) -> None:
        self._fetch_s, self._retry_s = fetch_s, retry_s
        self._stub: rpc.HubAsyncStub | None = None
        self._connected = asyncio.Event()

    def attach(self, stub: "rpc.HubAsyncStub") -> None:
        """A session is up."""
        self._stub = stub
        self._connected.set()

    def detach(self) -> None:
        self._stub = None
        self._connected.clear()

    async def fetch(self, archive: str, target: pathlib.Path) -> None:
        try:
            async with asyncio.timeout(self._fetch_s):
                while True:
                    if await self._attempt(archive, target):
                        return
                    await asyncio.sleep(self._retry_s)
        except TimeoutError as error:
            raise ReleaseFailedError(
                "fetch_timeout",
                f"cannot get the uploaded source {archive[:12]}: not within {self._fetch_s:g} s; deploy again when the"
                " control plane is well",
            ) from error

    async def _attempt(self, archive: str, target: pathlib.Path) -> bool:
        """False when the connection broke: another one may come."""
        await self._connected.wait()
        if self._stub is None:
            return False
        call = self._stub.FetchArchive(pb.ArchiveRequest(archive=archive))
        try:
            digest = await _write(call, target)
        except grpc.aio.AioRpcError as error:
            if error.code() in FINAL:
                raise ReleaseFailedError(
                    "archive_gone",
                    f"cannot get the uploaded source {archive[:12]}: {(error.details() or '')[:200]}; upload it again",
                ) from error
            log.info("archive.broken_off", archive=archive, code=error.code().name)
            return False
        finally:
            with contextlib.suppress(asyncio.InvalidStateError):
                call.cancel()
        if digest != archive:
            raise ReleaseFailedError(
                "bad_archive", f"cannot use the uploaded source {archive[:12]}: it came damaged; upload it again"
            )
        return True


async def _write(call: "grpc.aio.UnaryStreamCall[pb.ArchiveRequest, pb.ArchivePiece]", target: pathlib.Path) -> str:
    """The digest of what was written."""
    digest, size = hashlib.sha256(), 0
    with target.open("wb") as file:
        async for piece in call:
            size += len(piece.data)
            if size > MAX_BYTES:
                raise ReleaseFailedError("bad_archive", f"cannot use the uploaded source: it is over {MAX_BYTES} bytes")
            digest.update(piece.data)
            file.write(piece.data)
    return digest.hexdigest()
