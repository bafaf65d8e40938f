"""How each of our certificates looks. Pure but for the random of keys and serial numbers; times are arguments."""

import datetime
import ipaddress
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from control_plane import errors

# Agents dial any address and expect these names: an address may change, the installation's CA vouches for who it is.
HUB_NAME = "hub.dployr.internal"
ENROLMENT_NAME = "enrolment.dployr.internal"

AUTHORITY_LIFE = datetime.timedelta(days=3650)
SERVER_LIFE = datetime.timedelta(days=90)
INSTANCE_LIFE = datetime.timedelta(days=7)
CLOCK_SKEW = datetime.timedelta(minutes=5)  # a host whose clock is a little late takes a fresh certificate
MAX_CSR_BYTES = 16 * 1024


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)


def certificate_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def csr_key(csr_pem: bytes) -> ec.EllipticCurvePublicKey:
    """The public key that the CSR proves to hold; nothing else of it is believed. Raises InvalidError."""
    if len(csr_pem) > MAX_CSR_BYTES:
        raise _bad_csr(f"longer than {MAX_CSR_BYTES} bytes")
    try:
        csr = x509.load_pem_x509_csr(csr_pem)
        key = csr.public_key()
        signed = csr.is_signature_valid
    except Exception as error:  # the parser raises several kinds on what a stranger sends
        raise _bad_csr("not a PEM certificate signing request") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _bad_csr("its key is not an EC key on P-256")
    if not signed:
        raise _bad_csr("its signature does not match its key")
    return key


def authority(key: ec.EllipticCurvePrivateKey, now: datetime.datetime) -> x509.Certificate:
    """The CA: self-signed, may sign end certificates only."""
    name = _name("dployr agents CA")
    builder = _builder(name, name, key.public_key(), now, AUTHORITY_LIFE)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(sign_certificates=True), critical=True)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return builder.add_extension(identifier, critical=False).sign(key, hashes.SHA256())


def enrolment(key: ec.EllipticCurvePrivateKey, now: datetime.datetime) -> x509.Certificate:
    """Self-signed: who joins knows its hash beforehand and pins it, and nothing else trusts it."""
    name = _name("dployr enrolment")
    builder = _builder(name, name, key.public_key(), now, AUTHORITY_LIFE)
    return _server(builder, (ENROLMENT_NAME,)).sign(key, hashes.SHA256())


class Issuer:
    """Signs end certificates with the CA's key."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self._certificate = certificate

    def server(self, key: ec.EllipticCurvePublicKey, names: Sequence[str], now: datetime.datetime) -> x509.Certificate:
        builder = self._issued("dployr hub", key, now, SERVER_LIFE)
        return _server(builder, tuple(dict.fromkeys((HUB_NAME, *names)))).sign(self._key, hashes.SHA256())

    def instance(self, key: ec.EllipticCurvePublicKey, instance_id: str, now: datetime.datetime) -> x509.Certificate:
        builder = self._issued(instance_id, key, now, INSTANCE_LIFE)
        identity = x509.UniformResourceIdentifier(f"spiffe://dployr/instance/{instance_id}")
        builder = _end(builder, ExtendedKeyUsageOID.CLIENT_AUTH)
        builder = builder.add_extension(x509.SubjectAlternativeName([identity]), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def _issued(
        self, subject: str, key: ec.EllipticCurvePublicKey, now: datetime.datetime, life: datetime.timedelta
    ) -> x509.CertificateBuilder:
        builder = _builder(_name(subject), self._certificate.subject, key, now, life)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return builder.add_extension(issuer, critical=False)


def _bad_csr(issue: str) -> errors.InvalidError:
    return errors.InvalidError.field(f"cannot sign the certificate request: {issue}", "csr_pem", issue)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime.datetime,
    life: datetime.timedelta,
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - CLOCK_SKEW).not_valid_after(now + life)


def _server(builder: x509.CertificateBuilder, names: Sequence[str]) -> x509.CertificateBuilder:
    builder = _end(builder, ExtendedKeyUsageOID.SERVER_AUTH)
    return builder.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)


def _end(builder: x509.CertificateBuilder, purpose: x509.ObjectIdentifier) -> x509.CertificateBuilder:
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(sign_certificates=False), critical=True)
    return builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
