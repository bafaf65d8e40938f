"""What is known of a sealed release, beside its tree: enough to start it, to find it again, and to trust it."""

import dataclasses
import hashlib
import json
import pathlib
from typing import Any

import failpoints
from node_agent import atomic, ports
from node_agent.builder import inventory
from node_agent.model import decided, spec
from node_agent.model.decided import Rows

FORMAT = 1
KEY_FORMAT = 3  # raise it when the same source would be decided in another way
NAME = "manifest.json"
INVENTORY = "inventory.json"


@dataclasses.dataclass(frozen=True, slots=True)
class Manifest:
    """`key` names all inputs of the build, `dependencies_key` those of its dependency directory; `inventory` is the
    digest of the inventory file. `durations` are seconds of the steps, for people. `origin` is the release that was
    built, when this one is a copy of it (perhaps by way of others), else 0. `decided` is what its source decided.
    """

    release: int
    commit: str
    key: str
    dependencies_key: str
    toolchain: str
    static_root: str | None
    run_cmd: str
    inventory: str
    files: int
    bytes: int
    sealed_at: float
    durations: tuple[tuple[str, float], ...] = ()
    origin: int = 0
    decided: Rows = ()

    @property
    def artifact(self) -> ports.Artifact:
        return ports.Artifact(
            self.release,
            self.commit,
            self.key,
            self.toolchain,
            static_root=self.static_root,
            run_cmd=self.run_cmd,
            decided=self.decided,
        )


@failpoints.around("build.manifest")
def write(place: pathlib.Path, manifest: Manifest, listing: bytes) -> None:
    """Into the directory of a release that has no name yet: it is flushed, whole, before it gets one."""
    atomic.write_bytes(place / INVENTORY, listing, flushed=False)
    values = {**dataclasses.asdict(manifest), "decided": decided.dumped(manifest.decided)}
    text = json.dumps({"format": FORMAT, **values}, indent=1)
    atomic.write_bytes(place / NAME, f"{text}\n".encode(), flushed=False)


def read(place: pathlib.Path) -> Manifest | None:
    """The manifest when the release is there whole and its inventory is the one that was sealed, else None."""
    try:
        values = json.loads((place / NAME).read_bytes())
        if values.pop("format") != FORMAT or not (place / "tree").is_dir():
            return None
        durations = tuple((str(name), float(seconds)) for name, seconds in values.pop("durations"))
        rows = decided.loaded(values.pop("decided", _before_rows(values["run_cmd"])))
        found = Manifest(**values, durations=durations, decided=rows)
        listing = (place / INVENTORY).read_bytes()
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return found if found.inventory == digest(listing) and str(found.release) == place.name else None


def _before_rows(run_cmd: str) -> list[list[str]]:
    """What a release from before rows were sealed says: how it is started."""
    return [["run_cmd", run_cmd, "detected", "as it was built"]] if run_cmd else []


def toolchain(place: pathlib.Path) -> str:
    """That of the release there; "" when there is none, or no release. It asks no more than the manifest itself."""
    return str(_values(place).get("toolchain", ""))


def size(place: pathlib.Path) -> tuple[int, int] | None:
    """Bytes and files of the release there, None when there is none."""
    found = _values(place)
    try:
        return int(found["bytes"]), int(found["files"])
    except (KeyError, TypeError, ValueError):
        return None


def _values(place: pathlib.Path) -> dict[str, Any]:
    try:
        found = json.loads((place / NAME).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def entries(place: pathlib.Path) -> tuple[inventory.Entry, ...]:
    """The inventory of a sealed release. Raises ValueError, OSError."""
    return inventory.load((place / INVENTORY).read_bytes())


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def build_key(asked: spec.ReleaseSpec, commit: str) -> str:
    """The same key is the same artifact, with the same toolchain. What counts at run time only is not in it: run_cmd, port,
    secrets. What the source decides follows from its commit. Where volumes come, what stood there is gone.
    """
    inputs = (
        asked.runtime.value,
        asked.version,
        asked.build_cmd,
        asked.working_dir,
        asked.static_dir,
        sorted(asked.build_env),
    )
    mounts = [[mount for _, mount in asked.volumes]] if asked.volumes or "volumes" in asked.given else []
    return digest(json.dumps([KEY_FORMAT, commit, *inputs, *mounts]).encode())


def dependencies_key(release: spec.ReleaseSpec, toolchain: str, command: str, locks: list[str]) -> str:
    """The same key is the same dependency directory."""
    inputs = [FORMAT, toolchain, command, release.working_dir, sorted(release.build_env), locks]
    return digest(json.dumps(inputs).encode())
