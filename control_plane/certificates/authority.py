"""The installation's own CA for agents, kept in one directory (0700).

It signs two kinds of certificates: the hub's and the instances'. The enrolment listener shows a self-signed one whose
hash stands in every join token. Losing the directory means that every agent joins again.
"""

import pathlib
import re
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from control_plane import clock, errors
from control_plane.certificates import files, profiles

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
INSTANCE_ID = re.compile(r"[a-z]{3}_[0-9A-HJKMNP-TV-Z]{26}")

Pair = tuple[ec.EllipticCurvePrivateKey, x509.Certificate]


class Authority:
    """Implements ports.CertificateAuthority; make it with `load_or_create`."""

    def __init__(self, ca: Pair, enrolment: Pair, now: clock.Clock) -> None:
        self._ca = ca
        self._enrolment = enrolment
        self._issuer = profiles.Issuer(*ca)
        self._clock = now

    @classmethod
    def load_or_create(cls, directory: pathlib.Path, now: clock.Clock) -> "Authority":
        """Read the keys of `directory`, or make them at the first start.

        Raises InvalidError when a key is missing beside its certificate, does not match it, or others may read it.
        """
        files.make_directory(directory)
        ca = _load(directory, "ca") or _create(directory, "ca", now)
        enrolment = _load(directory, "enrolment") or _create(directory, "enrolment", now)
        return cls(ca, enrolment, now)

    @property
    def ca_pem(self) -> bytes:
        return profiles.certificate_pem(self._ca[1])

    def fingerprint(self) -> str:
        return self._enrolment[1].fingerprint(hashes.SHA256()).hex()

    def enrolment_pair(self) -> tuple[bytes, bytes]:
        key, certificate = self._enrolment
        return profiles.key_pem(key), profiles.certificate_pem(certificate)

    def check_csr(self, csr_pem: bytes) -> None:
        profiles.csr_key(csr_pem)

    def issue_instance(self, csr_pem: bytes, instance_id: str) -> bytes:
        if not INSTANCE_ID.fullmatch(instance_id):
            raise errors.InvalidError(f"cannot issue a certificate for {instance_id!r}: it is not an instance id")
        key = profiles.csr_key(csr_pem)
        return profiles.certificate_pem(self._issuer.instance(key, instance_id, self._clock.now()))

    def issue_server(self, names: Sequence[str] = LOOPBACK_NAMES) -> tuple[bytes, bytes]:
        key = profiles.new_key()
        certificate = self._issuer.server(key.public_key(), names, self._clock.now())
        return profiles.key_pem(key), profiles.certificate_pem(certificate)


def _load(directory: pathlib.Path, name: str) -> Pair | None:
    """The pair of that name; None when its certificate was never written, and so nobody trusts it yet."""
    path = directory / f"{name}.pem"
    if not path.exists():
        return None
    key_pem = files.read_private(directory / f"{name}.key")
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        key = serialization.load_pem_private_key(key_pem, password=None)
    except ValueError as error:
        raise errors.InvalidError(f"cannot read {path} and its key: {error}; restore them from a backup") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise errors.InvalidError(f"cannot use {path}: its key is another one; restore both from one backup")
    return key, certificate


def _create(directory: pathlib.Path, name: str, now: clock.Clock) -> Pair:
    """Key first, certificate last: a crash between them leaves a pair that `_load` does not see."""
    key = profiles.new_key()
    make = profiles.authority if name == "ca" else profiles.enrolment
    certificate = make(key, now.now())
    files.write_private(directory / f"{name}.key", profiles.key_pem(key))
    files.write_private(directory / f"{name}.pem", profiles.certificate_pem(certificate))
    return key, certificate
