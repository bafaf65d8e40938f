"""One look at the host, as values. Counters are as the kernel has them; what they mean per second is rates.py's work."""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Disk:
    mount: str
    device: str
    kind: str
    total_bytes: int
    used_bytes: int
    free_bytes: int


@dataclasses.dataclass(frozen=True, slots=True)
class DiskIo:
    read_bytes: int
    written_bytes: int
    reads: int
    writes: int


@dataclasses.dataclass(frozen=True, slots=True)
class Interface:
    name: str
    received_bytes: int
    sent_bytes: int
    received_packets: int
    sent_packets: int
    receive_errors: int
    send_errors: int
    receive_drops: int
    send_drops: int


@dataclasses.dataclass(frozen=True, slots=True)
class Memory:
    total_bytes: int
    available_bytes: int
    used_bytes: int
    free_bytes: int
    cached_bytes: int
    buffers_bytes: int


@dataclasses.dataclass(frozen=True, slots=True)
class Swap:
    total_bytes: int
    used_bytes: int


@dataclasses.dataclass(frozen=True, slots=True)
class Host:
    """`cpu` is seconds since boot by mode, all cores together; guests are within user and nice."""

    cpu: dict[str, float]
    cpus: int
    load: tuple[float, float, float]
    memory: Memory
    swap: Swap
    disks: tuple[Disk, ...]
    disk_io: DiskIo | None
    network: tuple[Interface, ...]
    boot_time: float


@dataclasses.dataclass(frozen=True, slots=True)
class Tree:
    """One process tree, at this moment. `cpu_seconds` includes children that ended; `fds` None: we may not look."""

    cpu_seconds: float
    rss_bytes: int
    threads: int
    fds: int | None
    processes: int


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """One process of a service, with its tree. `cpu_percent` is of one core, since the look before."""

    pid: int
    cpu_percent: float
    rss_bytes: int


@dataclasses.dataclass(frozen=True, slots=True)
class Service:
    """All trees of a service together. `cpu_seconds` only grows while this program runs; percent is of one core."""

    cpu_seconds: float
    cpu_percent: float
    rss_bytes: int
    threads: int
    fds: int | None
    processes: int
    restarts: int
    members: tuple[Member, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Rates:
    """What happened between two looks. `cpu` is percent by mode, of all cores together; empty when no time passed."""

    cpu: dict[str, float]
    disk_read_bytes: float
    disk_written_bytes: float
    received_bytes: dict[str, float]
    sent_bytes: dict[str, float]
