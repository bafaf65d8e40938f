"""What is known of the certificate that a route is served with: nothing for plain HTTP, else its state and its end.

Nobody gets certificates for routes yet: no agent offers `tls: auto`, so such a route is refused where it is made, and one
that a newer agent takes is `pending` here. Of a certificate that the user brought the chain's first one counts.
"""

import dataclasses

from cryptography import x509

from control_plane.domain import values

PENDING = "pending"
VALID = "valid"
EXPIRED = "expired"
UNREADABLE = "unreadable"


@dataclasses.dataclass(frozen=True, slots=True)
class RouteCertificate:
    state: str
    expires_at: values.Time | None = None


def of(options: values.RouteOptions, now: values.Time) -> RouteCertificate | None:
    if options.tls == "off":
        return None
    if options.tls == "auto":
        return RouteCertificate(PENDING)
    try:
        shown = x509.load_pem_x509_certificates(options.certificate.encode())[0]
    except ValueError:
        return RouteCertificate(UNREADABLE)
    return RouteCertificate(VALID if now < shown.not_valid_after_utc else EXPIRED, shown.not_valid_after_utc)
