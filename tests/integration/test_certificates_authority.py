"""The installation's CA on a real directory."""

import datetime
import ipaddress
import stat

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from control_plane import errors
from control_plane.certificates.authority import Authority
from tests.hub_fixtures import INSTANCE

NOW = datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


class Fixed:
    def monotonic(self) -> float:
        return 0.0

    def now(self) -> datetime.datetime:
        return NOW


def an_authority(directory) -> Authority:
    return Authority.load_or_create(directory, Fixed())


def a_csr(key=None, *, name: str = "", names: tuple[str, ...] = ()) -> bytes:
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if names:
        uris = [x509.UniformResourceIdentifier(text) for text in names]
        builder = builder.add_extension(x509.SubjectAlternativeName(uris), critical=False)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.PEM)


def test_keys_are_private_and_the_directory_too(tmp_path):
    an_authority(tmp_path / "ca")
    assert stat.S_IMODE((tmp_path / "ca").stat().st_mode) == 0o700
    files = sorted(path.name for path in (tmp_path / "ca").iterdir())
    assert files == ["ca.key", "ca.pem", "enrolment.key", "enrolment.pem"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "ca").iterdir()} == {0o600}


def test_a_second_start_finds_the_same_authority(tmp_path):
    first, second = an_authority(tmp_path / "ca"), an_authority(tmp_path / "ca")
    assert (first.ca_pem, first.fingerprint()) == (second.ca_pem, second.fingerprint())


def test_a_crash_between_key_and_certificate_is_made_good(tmp_path):
    (tmp_path / "ca").mkdir()
    (tmp_path / "ca" / "ca.key").write_bytes(b"half")
    assert an_authority(tmp_path / "ca").ca_pem


def test_only_the_public_key_of_a_csr_counts(tmp_path):
    authority = an_authority(tmp_path / "ca")
    key = ec.generate_private_key(ec.SECP256R1())
    csr = a_csr(key, name="evil", names=("spiffe://dployr/instance/ins_" + "9" * 26,))
    certificate = x509.load_pem_x509_certificate(authority.issue_instance(csr, INSTANCE))
    assert certificate.public_key() == key.public_key()
    assert certificate.subject.rfc4514_string() == f"CN={INSTANCE}"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.UniformResourceIdentifier(f"spiffe://dployr/instance/{INSTANCE}")]


def test_an_instance_certificate_is_for_clients_and_seven_days(tmp_path):
    authority = an_authority(tmp_path / "ca")
    certificate = x509.load_pem_x509_certificate(authority.issue_instance(a_csr(), INSTANCE))
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.ca_pem))
    assert certificate.not_valid_before_utc == NOW - datetime.timedelta(minutes=5)
    assert certificate.not_valid_after_utc == NOW + datetime.timedelta(days=7)
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_a_server_certificate_has_its_names_and_ninety_days(tmp_path):
    _, pem = an_authority(tmp_path / "ca").issue_server(("hub.example.com", "10.0.0.7"))
    certificate = x509.load_pem_x509_certificate(pem)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["hub.dployr.internal", "hub.example.com"]
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("10.0.0.7")]
    assert certificate.not_valid_after_utc == NOW + datetime.timedelta(days=90)


def _tampered() -> bytes:
    other = x509.load_pem_x509_csr(a_csr())
    der = bytearray(other.public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    return x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize(
    "csr",
    [
        b"",
        b"nonsense",
        b"x" * 20_000,
        a_csr(ec.generate_private_key(ec.SECP384R1())),
        a_csr(ed25519.Ed25519PrivateKey.generate()),
        _tampered(),
    ],
    ids=["empty", "nonsense", "huge", "P-384", "Ed25519", "bad signature"],
)
def test_a_bad_csr_is_refused(tmp_path, csr):
    authority = an_authority(tmp_path / "ca")
    with pytest.raises(errors.InvalidError):
        authority.issue_instance(csr, INSTANCE)
    with pytest.raises(errors.InvalidError):
        authority.check_csr(csr)


def test_a_certificate_is_only_for_an_instance_id(tmp_path):
    with pytest.raises(errors.InvalidError):
        an_authority(tmp_path / "ca").issue_instance(a_csr(), "ins_1/../x")


def test_a_key_that_others_may_read_is_refused(tmp_path):
    an_authority(tmp_path / "ca")
    (tmp_path / "ca" / "ca.key").chmod(0o644)
    with pytest.raises(errors.InvalidError, match="chmod 600"):
        an_authority(tmp_path / "ca")


def test_a_lost_or_foreign_key_is_refused_rather_than_replaced(tmp_path):
    an_authority(tmp_path / "ca")
    key = tmp_path / "ca" / "ca.key"
    kept = key.read_bytes()
    key.write_bytes((tmp_path / "ca" / "enrolment.key").read_bytes())
    with pytest.raises(errors.InvalidError, match="another one"):
        an_authority(tmp_path / "ca")
    key.write_bytes(b"broken")
    with pytest.raises(errors.InvalidError, match="restore"):
        an_authority(tmp_path / "ca")
    key.unlink()
    with pytest.raises(errors.InvalidError, match="missing"):
        an_authority(tmp_path / "ca")
    key.touch(0o600)
    key.write_bytes(kept)
    assert an_authority(tmp_path / "ca").ca_pem
