"""Addresses, intervals and bounds of the hub; tests shorten them."""

import dataclasses
from typing import Any

# Measured: without ping_timeout_ms a stopped peer is found after a minute instead of 15 s, and without the three
# limits a storm of reconnects loses streams.
MAX_MESSAGE_BYTES = 4 << 20
BOTH: list[tuple[str, Any]] = [
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
]
SERVER: list[tuple[str, Any]] = [
    *BOTH,
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.so_reuseport", 0),
    ("grpc.server.max_pending_requests", 100_000),
    ("grpc.server.max_pending_requests_hard_limit", 100_000),
    ("grpc.server_max_unrequested_time_in_server", 600),
]


@dataclasses.dataclass(frozen=True, slots=True)
class HubSettings:
    """Ports may be 0. `names` are the addresses that the hub's certificate says besides its fixed name."""

    host: str = "127.0.0.1"
    hub_port: int = 0
    enrol_port: int = 0
    names: tuple[str, ...] = ("localhost", "127.0.0.1", "::1")
    heartbeat_s: int = 10
    sample_s: int = 10
    lease_s: float = 40.0  # a stream that says nothing for so long is ended: a live stream is not a live agent
    hello_s: float = 10.0
    resend_s: float = 5.0
    farewell_s: float = 2.0  # for the last message to an agent that does not read


@dataclasses.dataclass(frozen=True, slots=True)
class RelaySettings:
    """What one log reader may cost, and how long it waits for an agent that comes back."""

    max_batches: int = 64
    max_bytes: int = 4 << 20
    resume_s: float = 30.0
    retry_s: float = 0.5
    send_s: float = 5.0


@dataclasses.dataclass(frozen=True, slots=True)
class RunSettings:
    """`begin_s` is how long an agent has to take a command up: one that knows of none never answers.

    `end_s` is how long after a command's deadline it may still say nothing before its end counts as lost.
    """

    max_pieces: int = 16
    begin_s: float = 15.0
    end_s: float = 30.0
    send_s: float = 5.0
