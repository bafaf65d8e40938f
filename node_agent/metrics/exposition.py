"""A sample as Prometheus text, through the data model of prometheus_client. Pure.

Names and base units follow Prometheus' conventions: raw counters, seconds and bytes; rates are the reader's business.
"""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from node_agent.metrics.reading import Disk, Host, Interface, Service


def encode(host: Host, services: Mapping[str, Service]) -> str:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Sample([*_host(host), *_disks(host), *_network(host), *_services(services)]))
    return generate_latest(registry).decode()


class _Sample(Collector):
    """The families of one sample, for the one registry that writes them out."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        return self._families


def _host(host: Host) -> list[Metric]:
    cpu = CounterMetricFamily("dployr_host_cpu_seconds", "CPU time by mode, all cores together.", labels=["mode"])
    for mode, seconds in host.cpu.items():
        cpu.add_metric([mode], seconds)
    memory, swap = host.memory, host.swap
    gauges = {
        "boot_time_seconds": ("When the host booted, since the epoch.", host.boot_time),
        "cpus": ("Logical processors.", host.cpus),
        "load1": ("Load average over 1 minute.", host.load[0]),
        "load5": ("Load average over 5 minutes.", host.load[1]),
        "load15": ("Load average over 15 minutes.", host.load[2]),
        "memory_bytes": ("Memory of the host.", memory.total_bytes),
        "memory_available_bytes": ("Memory that programs can get without swapping.", memory.available_bytes),
        "memory_used_bytes": ("Memory in use.", memory.used_bytes),
        "memory_cached_bytes": ("Memory that holds copies of files.", memory.cached_bytes),
        "swap_bytes": ("Swap space.", swap.total_bytes),
        "swap_used_bytes": ("Swap space in use.", swap.used_bytes),
    }
    plain = [GaugeMetricFamily(f"dployr_host_{name}", words, value) for name, (words, value) in gauges.items()]
    return [cpu, *plain]


def _disks(host: Host) -> list[Metric]:
    sizes: dict[str, tuple[str, Callable[[Disk], int]]] = {
        "size_bytes": ("Size of the file system.", lambda disk: disk.total_bytes),
        "used_bytes": ("Space in use.", lambda disk: disk.used_bytes),
        "available_bytes": ("Space that ordinary users can still take.", lambda disk: disk.free_bytes),
    }
    families: list[Metric] = []
    for name, (words, value) in sizes.items():
        gauge = GaugeMetricFamily(f"dployr_host_filesystem_{name}", words, labels=["mountpoint", "device", "fstype"])
        for disk in host.disks:
            gauge.add_metric([disk.mount, disk.device, disk.kind], value(disk))
        families.append(gauge)
    return [*families, *_disk_io(host)]


def _disk_io(host: Host) -> list[Metric]:
    if host.disk_io is None:
        return []
    return [
        CounterMetricFamily("dployr_host_disk_read_bytes", "Bytes read from disks.", host.disk_io.read_bytes),
        CounterMetricFamily("dployr_host_disk_written_bytes", "Bytes written to disks.", host.disk_io.written_bytes),
        CounterMetricFamily("dployr_host_disk_reads", "Reads that ended.", host.disk_io.reads),
        CounterMetricFamily("dployr_host_disk_writes", "Writes that ended.", host.disk_io.writes),
    ]


def _network(host: Host) -> list[Metric]:
    counters: dict[str, tuple[str, Callable[[Interface], int]]] = {
        "receive_bytes": ("Bytes received.", lambda each: each.received_bytes),
        "transmit_bytes": ("Bytes sent.", lambda each: each.sent_bytes),
        "receive_packets": ("Packets received.", lambda each: each.received_packets),
        "transmit_packets": ("Packets sent.", lambda each: each.sent_packets),
        "receive_errors": ("Errors while receiving.", lambda each: each.receive_errors),
        "transmit_errors": ("Errors while sending.", lambda each: each.send_errors),
        "receive_drops": ("Received packets that were dropped.", lambda each: each.receive_drops),
        "transmit_drops": ("Packets dropped instead of sent.", lambda each: each.send_drops),
    }
    families: list[Metric] = []
    for name, (words, value) in counters.items():
        counter = CounterMetricFamily(f"dployr_host_network_{name}", words, labels=["interface"])
        for interface in host.network:
            counter.add_metric([interface.name], value(interface))
        families.append(counter)
    return families


def _services(services: Mapping[str, Service]) -> list[Metric]:
    label = ["service"]
    cpu = CounterMetricFamily("dployr_service_cpu_seconds", "CPU time of the service's processes.", labels=label)
    restarts = CounterMetricFamily("dployr_service_restarts", "Restarts of its present processes.", labels=label)
    rss = GaugeMetricFamily("dployr_service_resident_memory_bytes", "Resident memory.", labels=label)
    threads = GaugeMetricFamily("dployr_service_threads", "Threads.", labels=label)
    processes = GaugeMetricFamily("dployr_service_processes", "Processes of the operating system.", labels=label)
    fds = GaugeMetricFamily("dployr_service_open_fds", "Open file descriptors.", labels=label)
    for name, service in services.items():
        cpu.add_metric([name], service.cpu_seconds)
        restarts.add_metric([name], service.restarts)
        rss.add_metric([name], service.rss_bytes)
        threads.add_metric([name], service.threads)
        processes.add_metric([name], service.processes)
        if service.fds is not None:
            fds.add_metric([name], service.fds)
    return [cpu, restarts, rss, threads, processes, fds]
