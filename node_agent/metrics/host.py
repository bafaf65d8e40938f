"""psutil's view of the host as our values."""

import os
import pathlib
import platform
import socket

import psutil

from node_agent.metrics.reading import Disk, DiskIo, Host, Interface, Memory, Swap

CPU_MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
NOT_A_DISK = frozenset({"squashfs", "iso9660", "udf"})


def read() -> Host:
    """Everything but the processes. May block some milliseconds."""
    times = psutil.cpu_times()
    return Host(
        cpu={mode: float(getattr(times, mode)) for mode in CPU_MODES if hasattr(times, mode)},
        cpus=cpus(),
        load=os.getloadavg(),
        memory=_memory(),
        swap=_swap(),
        disks=_disks(),
        disk_io=_disk_io(),
        network=_network(),
        boot_time=psutil.boot_time(),
    )


def cpus() -> int:
    return psutil.cpu_count() or 1


def memory_bytes() -> int:
    return int(psutil.virtual_memory().total)


def disk_bytes() -> int:
    return int(psutil.disk_usage("/").total)


def system() -> str:
    """The operating system as its vendor calls it."""
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def addresses() -> tuple[str, ...]:
    """Addresses by which others may reach this host: of interfaces that are up, not loopback and not link-local."""
    up = {name for name, stats in psutil.net_if_stats().items() if stats.isup}
    found = [
        address.address
        for name, configured in psutil.net_if_addrs().items()
        if name in up
        for address in configured
        if address.family in {socket.AF_INET, socket.AF_INET6}
    ]
    return tuple(sorted(each for each in found if not each.startswith(("127.", "169.254.", "fe80:")) and each != "::1"))


def _memory() -> Memory:
    found = psutil.virtual_memory()
    return Memory(found.total, found.available, found.used, found.free, found.cached, found.buffers)


def _swap() -> Swap:
    found = psutil.swap_memory()
    return Swap(found.total, found.used)


def _disks() -> tuple[Disk, ...]:
    """Each device once, where it is mounted first; the root always, also when it is an overlay."""
    candidates = [("/", "", ""), *((p.mountpoint, p.device, p.fstype) for p in psutil.disk_partitions())]
    known = {mount: (device, kind) for mount, device, kind in candidates}
    disks: dict[str, Disk] = {}
    for mount, (device, kind) in known.items():
        if kind in NOT_A_DISK or (device or mount) in disks or not pathlib.Path(mount).is_dir():
            continue
        try:
            usage = psutil.disk_usage(mount)
        except OSError:
            continue  # unmounted while we look, or not for us
        disks[device or mount] = Disk(mount, device, kind, usage.total, usage.used, usage.free)
    return tuple(disks.values())


def _disk_io() -> DiskIo | None:
    found = psutil.disk_io_counters()
    if found is None:
        return None
    return DiskIo(found.read_bytes, found.write_bytes, found.read_count, found.write_count)


def _network() -> tuple[Interface, ...]:
    return tuple(
        Interface(
            name=name,
            received_bytes=found.bytes_recv,
            sent_bytes=found.bytes_sent,
            received_packets=found.packets_recv,
            sent_packets=found.packets_sent,
            receive_errors=found.errin,
            send_errors=found.errout,
            receive_drops=found.dropin,
            send_drops=found.dropout,
        )
        for name, found in sorted(psutil.net_io_counters(pernic=True).items())
        if name != "lo"
    )
