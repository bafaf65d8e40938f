"""Intervals and bounds of the session; tests shorten them."""

import dataclasses
from typing import Any

MAX_MESSAGE_BYTES = 4 << 20

# Measured: without ping_timeout_ms a stopped peer is found after a minute instead of 15 s.
CLIENT: list[tuple[str, Any]] = [
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 250),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # Two sessions of one process must not share a connection: one of them may hold an older certificate.
    ("grpc.use_local_subchannel_pool", 1),
]


@dataclasses.dataclass(frozen=True, slots=True)
class SessionSettings:
    """Back-off doubles from `backoff_s` to `backoff_max_s`; one that was refused asks every `refused_s`."""

    backoff_s: float = 0.25
    backoff_max_s: float = 5.0
    refused_s: float = 30.0
    call_s: float = 10.0
    resend_s: float = 5.0
    renew_look_s: float = 300.0
    log_calls: int = 64
    runs: int = 4
    heartbeat_s: float = 0.0  # 0: what the control plane asks for
    sample_s: float = 0.0
