"""Who this agent is: a key made here, a certificate of the installation's CA, and how both are come by.

A join token is `<secret>.<SHA-256 of the enrolment listener's certificate>`. The certificate is fetched, compared with
the hash and then pinned, so the secret is never shown to anybody else. The certificate is written last: where it
exists the rest does too.
"""

import asyncio
import dataclasses
import hashlib
import hmac
import pathlib
import re
import socket
import ssl

import grpc
from cryptography import exceptions, x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from node_agent import atomic, errors
from node_agent.paths import ID, Paths
from node_agent.session.settings import CLIENT
from protos import agent_pb2 as pb
from protos import agent_pb2_grpc as rpc

# The names in the control plane's certificates: whom we talk to is who holds them, at whatever address.
HUB_NAME = "hub.dployr.internal"
ENROLMENT_NAME = "enrolment.dployr.internal"
TOKEN = re.compile(r"([0-9a-f]{32,128})\.([0-9a-f]{64})")
CALL_S = 15.0
DAMAGED = (ValueError, TypeError, exceptions.InvalidSignature)


@dataclasses.dataclass(frozen=True, slots=True)
class Identity:
    """What `directory` holds. Times are seconds since the epoch."""

    directory: pathlib.Path
    instance_id: str
    key_pem: bytes = dataclasses.field(repr=False)
    certificate_pem: bytes
    ca_pem: bytes
    not_before: float
    not_after: float

    @property
    def renew_at(self) -> float:
        """Two thirds of the certificate's life."""
        return self.not_before + (self.not_after - self.not_before) * 2 / 3

    def channel(self, address: str) -> grpc.aio.Channel:
        """A new connection to the hub, with the present certificate."""
        credentials = grpc.ssl_channel_credentials(self.ca_pem, self.key_pem, self.certificate_pem)
        return grpc.aio.secure_channel(address, credentials, [*CLIENT, ("grpc.ssl_target_name_override", HUB_NAME)])

    def csr(self) -> bytes:
        return _csr(_load_key(self.key_pem))


def load(paths: Paths) -> Identity | None:
    """The stored identity, None before the agent has joined. Raises EnrolmentRefusedError when it is damaged."""
    directory = paths.identity
    if not (directory / "certificate.pem").exists():
        return None
    try:
        parts = [(directory / name).read_bytes() for name in ("key.pem", "certificate.pem", "ca.pem")]
        return _identity(directory, *parts)
    except (OSError, *DAMAGED) as error:
        raise errors.EnrolmentRefusedError(
            f"cannot use the identity in {directory}: {error}; delete the directory and join with a fresh token"
        ) from error


async def enrol(paths: Paths, join_token: str, address: str, hostname: str = "") -> Identity:
    """Join the installation that the token belongs to, and store the identity.

    Raises EnrolmentRefusedError (a bad or spent token, somebody else at the address) or ControlPlaneUnavailableError.
    """
    token = TOKEN.fullmatch(join_token.strip())
    if token is None:
        raise errors.EnrolmentRefusedError("cannot join: the join token is malformed; copy it whole, or make a new one")
    pinned = await _pinned(address, token.group(2))
    key = await asyncio.to_thread(_make_key, paths)
    csr = _csr(_load_key(key))
    request = pb.EnrolRequest(join_token=token.group(1), csr_pem=csr, hostname=hostname or socket.gethostname())
    reply = await _ask(address, pinned, request)
    return await asyncio.to_thread(_keep, paths.identity, key, reply)


async def renew(old: Identity, stub: "rpc.HubAsyncStub") -> Identity:
    """A new certificate for the same key, stored. Raises AioRpcError, or EnrolmentRefusedError on a wrong answer."""
    reply = await stub.Renew(pb.RenewRequest(csr_pem=old.csr()), timeout=CALL_S)
    if reply.instance_id != old.instance_id:
        raise errors.EnrolmentRefusedError(f"cannot renew: the answer is for {reply.instance_id!r}, not for this host")
    return await asyncio.to_thread(_keep, old.directory, old.key_pem, reply)


async def _pinned(address: str, fingerprint: str) -> bytes:
    """The certificate that answers at `address`, proven to be the one of the token."""
    host, _, port = address.rpartition(":")
    try:
        pem = await asyncio.to_thread(ssl.get_server_certificate, (host.strip("[]"), int(port)), timeout=CALL_S)
    except OSError as error:
        raise errors.ControlPlaneUnavailableError(f"cannot join at {address}: {error}; is it running there?") from error
    found = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
    if not hmac.compare_digest(found, fingerprint):
        raise errors.EnrolmentRefusedError(
            f"cannot join at {address}: another installation answers there than the one of the token; check the address"
        )
    return pem.encode()


async def _ask(address: str, pinned: bytes, request: pb.EnrolRequest) -> pb.EnrolReply:
    options = [*CLIENT, ("grpc.ssl_target_name_override", ENROLMENT_NAME)]
    async with grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(pinned), options) as channel:
        try:
            return await rpc.EnrolmentStub(channel).Enrol(request, timeout=CALL_S)
        except grpc.aio.AioRpcError as error:
            message = f"cannot join at {address}: {error.details()}"
            if error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
                raise errors.ControlPlaneUnavailableError(message) from error
            raise errors.EnrolmentRefusedError(message) from error


def _make_key(paths: Paths) -> bytes:
    """The stored key, made when there is none or when what is there is no key."""
    paths.identity.mkdir(mode=0o700, parents=True, exist_ok=True)
    paths.identity.chmod(0o700)
    path = paths.identity / "key.pem"
    try:
        _load_key(path.read_bytes())
    except (FileNotFoundError, *DAMAGED):
        key = ec.generate_private_key(ec.SECP256R1())
        plain = serialization.NoEncryption()
        atomic.write_bytes(
            path, key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        )
    return path.read_bytes()


def _keep(directory: pathlib.Path, key: bytes, reply: pb.EnrolReply) -> Identity:
    try:
        new = _identity(directory, key, reply.certificate_pem, reply.ca_pem)
    except DAMAGED as error:
        raise errors.EnrolmentRefusedError(f"cannot use the certificate that came back: {error}") from error
    atomic.write_bytes(directory / "ca.pem", reply.ca_pem)
    atomic.write_bytes(directory / "certificate.pem", reply.certificate_pem)
    return new


def _identity(directory: pathlib.Path, key_pem: bytes, certificate_pem: bytes, ca_pem: bytes) -> Identity:
    """Raises ValueError when the parts do not belong together."""
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    if certificate.public_key() != _load_key(key_pem).public_key():
        raise ValueError("the certificate is for another key")
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(ca_pem))
    return Identity(
        directory=directory,
        instance_id=_instance(certificate),
        key_pem=key_pem,
        certificate_pem=certificate_pem,
        ca_pem=ca_pem,
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=certificate.not_valid_after_utc.timestamp(),
    )


def _instance(certificate: x509.Certificate) -> str:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound as error:
        raise ValueError("the certificate names no instance") from error
    for uri in names.get_values_for_type(x509.UniformResourceIdentifier):
        prefix, _, instance_id = str(uri).rpartition("/")
        if prefix == "spiffe://dployr/instance" and ID.fullmatch(instance_id):
            return instance_id
    raise ValueError("the certificate names no instance")


def _load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("the key is not an EC key")  # noqa: TRY004  the content of a file, not a caller's type
    return key


def _csr(key: ec.EllipticCurvePrivateKey) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
