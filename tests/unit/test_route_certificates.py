"""What a route says of the certificate that it is served with."""

import datetime

import pytest
import trustme

from control_plane.api.models_routes import RouteShape
from control_plane.domain import values
from control_plane.services import route_certificates
from tests import builders
from tests.builders import START

ENDS = START + datetime.timedelta(days=30)


@pytest.fixture(scope="module")
def chain():
    """A certificate with its issuer behind it, as files of certificates are."""
    issuer = trustme.CA()
    made = issuer.issue_cert("app.example.com", not_before=START - datetime.timedelta(days=1), not_after=ENDS)
    return "".join(one.bytes().decode() for one in (*made.cert_chain_pems, issuer.cert_pem))


def shown(now=START, **options):
    made = builders.a_route(options=values.RouteOptions(**options))
    certificate = RouteShape.of(made, now).certificate
    return certificate and (certificate.state, certificate.expires_at)


def test_a_route_of_plain_http_has_none():
    assert shown() is None


def test_one_that_somebody_else_shall_get_is_pending():
    assert shown(tls="auto") == ("pending", None)


def test_one_that_was_brought_says_when_it_ends(chain):
    ends = "2026-12-01T12:00:00.000Z"
    assert shown(tls="own", certificate=chain) == ("valid", ends)
    assert shown(ENDS, tls="own", certificate=chain) == ("expired", ends)


@pytest.mark.parametrize("text", ["", "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n", "\ud800"])
def test_one_that_nobody_can_read_says_so(text):
    assert route_certificates.of(values.RouteOptions(tls="own", certificate=text), START).state == "unreadable"
