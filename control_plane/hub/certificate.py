"""The hub's own certificate: made in memory, replaced at two thirds of its life while the listener goes on."""

import datetime
import threading
from collections.abc import Sequence
from typing import Any

import grpc
from cryptography import x509

from control_plane import clock, ports


class ServerCertificate:
    """gRPC asks for the present certificate at each handshake, on threads of its own."""

    def __init__(self, authority: ports.CertificateAuthority, names: Sequence[str], now: clock.Clock) -> None:
        self._authority = authority
        self._names = names
        self._clock = now
        self._lock = threading.Lock()
        self._renew_at = datetime.datetime.min.replace(tzinfo=datetime.UTC)

    def credentials(self) -> grpc.ServerCredentials:
        """Credentials that demand a client certificate of the CA and follow the renewals."""
        first = self._issue()
        newer: Any = self._newer  # the stub does not know that None means unchanged
        return grpc.dynamic_ssl_server_credentials(first, newer, require_client_authentication=True)

    def _newer(self) -> grpc.ServerCertificateConfiguration | None:
        """What to use from now on; None keeps the present one."""
        with self._lock:
            return self._issue() if self._clock.now() >= self._renew_at else None

    def _issue(self) -> grpc.ServerCertificateConfiguration:
        pair = self._authority.issue_server(self._names)
        certificate = x509.load_pem_x509_certificate(pair[1])
        life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
        self._renew_at = certificate.not_valid_before_utc + life * 2 / 3
        return grpc.ssl_server_certificate_configuration([pair], root_certificates=self._authority.ca_pem)
