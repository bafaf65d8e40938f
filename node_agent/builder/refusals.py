"""Why git did not do it, in our words. git has one exit code for everything, so its text (LC_ALL=C) chooses the code."""

from node_agent.builder import children
from node_agent.errors import ReleaseFailedError

ABSENT = (
    "not found",
    "does not appear to be a git repository",
    "could not read Username",
    "Authentication failed",
    "does not exist",
    "Permission denied (publickey",
)
NO_OBJECT = ("not our ref", "unadvertised object", "couldn't find remote ref", "not a valid object name")
NO_ROOM = "No space left on device"
UNKNOWN_HOST = (
    "Host key verification failed",
    "No ED25519 host key is known",
    "REMOTE HOST IDENTIFICATION HAS CHANGED",
)


def names_an_object(ended: children.Ended) -> bool:
    """Did the server answer, but not have (or not give out) what was asked for?"""
    return any(word in ended.stderr for word in NO_OBJECT)


def too_large(remote: str, most: int) -> ReleaseFailedError:
    """`most`: the bytes that one fetch may bring."""
    return ReleaseFailedError("source_too_large", f"cannot fetch {remote}: it brings more than {most >> 20} MiB")


def of(remote: str, ended: children.Ended) -> ReleaseFailedError:
    """git's own words are in what has no better ones."""
    said = ended.stderr
    if any(NO_ROOM in line and not line.startswith("remote:") for line in said.splitlines()):
        return ReleaseFailedError(
            "disk_full",
            f"cannot fetch {remote}: the disk of the host is full; delete what is not needed there, see `dployr disk`",
        )
    if any(word in said for word in UNKNOWN_HOST):
        return ReleaseFailedError(
            "host_key_refused",
            f"cannot trust the server of {remote}: its key is not the known one; set git_host_key to its public key, "
            "after comparing it with what the server's operator publishes",
        )
    if any(word in said for word in ABSENT):
        return ReleaseFailedError(
            "repository_not_found",
            f"cannot find the repository {remote}: check the address, and that it is public or git_token (for ssh, "
            "the deploy key) opens it",
        )
    if "not allowed" in said:
        return ReleaseFailedError("remote_refused", f"cannot use the remote {remote}: {ended.last_line}")
    if "fsck" in said:
        return ReleaseFailedError("bad_repository", f"cannot use {remote}: git refuses what is in it: {_fsck(said)}")
    return ReleaseFailedError("fetch_failed", f"cannot read {remote}: {ended.last_line}")


def _fsck(said: str) -> str:
    lines = [line for line in said.splitlines() if line.startswith("error: object ")]
    return (lines or said.splitlines())[0][:300]
