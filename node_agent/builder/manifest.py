"""What is known of a sealed release, beside its tree: enough to start it, to find it again, and to trust it."""

import dataclasses
import hashlib
import json
import pathlib

from node_agent import atomic, ports
from node_agent.builder import inventory
from node_agent.model import spec

FORMAT = 1
NAME = "manifest.json"
INVENTORY = "inventory.json"


@dataclasses.dataclass(frozen=True, slots=True)
class Manifest:
    """`key` names all inputs of the build, `dependencies_key` those of its dependency directory; `inventory` is the
    digest of the inventory file. `durations` are seconds of the steps, for people. `origin` is the release that was
    built, when this one is a copy of it (perhaps by way of others), else 0.
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

    @property
    def artifact(self) -> ports.Artifact:
        return ports.Artifact(
            self.release, self.commit, self.key, self.toolchain, static_root=self.static_root, run_cmd=self.run_cmd
        )


def write(place: pathlib.Path, manifest: Manifest, listing: bytes) -> None:
    """Into the directory of the release; the manifest last."""
    atomic.write_bytes(place / INVENTORY, listing)
    text = json.dumps({"format": FORMAT, **dataclasses.asdict(manifest)}, indent=1)
    atomic.write_text(place / NAME, text + "\n")


def read(place: pathlib.Path) -> Manifest | None:
    """The manifest when the release is there whole and its inventory is the one that was sealed, else None."""
    try:
        values = json.loads((place / NAME).read_bytes())
        if values.pop("format") != FORMAT or not (place / "tree").is_dir():
            return None
        durations = tuple((str(name), float(seconds)) for name, seconds in values.pop("durations"))
        found = Manifest(**values, durations=durations)
        listing = (place / INVENTORY).read_bytes()
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return found if found.inventory == digest(listing) and str(found.release) == place.name else None


def entries(place: pathlib.Path) -> tuple[inventory.Entry, ...]:
    """The inventory of a sealed release. Raises ValueError, OSError."""
    return inventory.load((place / INVENTORY).read_bytes())


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def build_key(release: spec.ReleaseSpec, commit: str, toolchain: str) -> str:
    """The same key is the same artifact. What counts at run time only is not in it: run_cmd, port, secrets."""
    inputs = (
        release.runtime.value,
        release.build_cmd,
        release.working_dir,
        release.static_dir,
        sorted(release.build_env),
    )
    if release.runtime is spec.Runtime.STATIC:
        toolchain = release.version  # which node builds it is known only after a look at the source
    return digest(json.dumps([FORMAT, commit, toolchain, *inputs]).encode())


def dependencies_key(release: spec.ReleaseSpec, toolchain: str, command: str, locks: list[str]) -> str:
    """The same key is the same dependency directory."""
    inputs = [FORMAT, toolchain, command, release.working_dir, sorted(release.build_env), locks]
    return digest(json.dumps(inputs).encode())
