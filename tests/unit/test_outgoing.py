"""Where a webhook may lead: by address, whatever its spelling."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addresses import public
from addresses.own import is_own
from control_plane import errors
from control_plane.delivery.guard import Guard
from control_plane.domain import outgoing
from tests.delivery_fixtures import Names, networks

HOSTILE = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "100.127.255.255",
    "127.0.0.1", "127.255.255.254", "168.63.129.16", "169.254.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255",
    "192.0.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.0.1", "192.168.255.255", "198.18.0.1",
    "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1", "2001::1", "2001:0:7f00:1::", "2001:10::1",
    "2001:20::1", "2001:db8::1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254",
    "fe80::1", "fe80::1%lo", "fec0::1", "ff02::1", "ff0e::1",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "100.63.255.255", "100.128.0.1", "172.32.0.1", "198.17.255.255",
          "198.20.0.1", "223.255.255.255", "2606:4700::1111", "2a00:1450:4001::1", "::ffff:8.8.8.8"]  # fmt: skip

TEXTS = [
    "127.1", "127.0.1", "2130706433", "0x7f.1", "0x7f000001", "0X7F.0.0.1", "0177.0.0.1", "017700000001", "127.0.0.1.",
    "①27.0.0.1", "\uff11\uff12\uff17.\uff10.\uff10.\uff11", "127。0。0。1", "127.0.0.①", "⓪x7f.1", "0", "0.0", "169.254.43518", "0xa9fea9fe",
    "2852039166", "localhost", "LOCALHOST", "localhost.", "a.localhost", "ⓛocalhost", "[::1]", "[::]",
    "[0:0:0:0:0:0:0:1]", "[::ffff:7f00:1]", "[::ffff:127.0.0.1]", "[64:ff9b::127.0.0.1]", "[fe80::1]", "10.1", "192.168.1",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_an_address_that_is_not_public_is_refused_on_every_port(text):
    address = ipaddress.ip_address(text)
    assert not public.is_public(address)
    assert outgoing.address_issue(address, 443, ())
    assert outgoing.address_issue(address, 8080, ())


@pytest.mark.parametrize("text", PUBLIC)
def test_a_public_address_may_be_called_on_443_and_80_only(text):
    address = ipaddress.ip_address(text)
    assert outgoing.address_issue(address, 443, ()) == outgoing.address_issue(address, 80, ()) == ""
    assert "port 25" in outgoing.address_issue(address, 25, ())


@given(st.ip_addresses())
def test_nothing_is_called_that_the_standard_library_takes_for_private(address):
    if public.is_public(address):
        plain = public.plain(address)
        assert plain.is_global
        assert not plain.is_multicast


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("text", TEXTS)
def test_every_spelling_of_a_local_address_is_refused_by_its_address(scheme, text):
    with pytest.raises(errors.InvalidError) as caught:
        outgoing.check_url(f"{scheme}://{text}/hook")
    assert caught.value.details["field"] == "url"
    assert "not a public address" in caught.value.message or "this machine" in caught.value.message


@pytest.mark.parametrize("text", [text for text in TEXTS if text.startswith(("127", "0x7f", "21307", "①", "\uff11"))])
def test_the_same_spelling_is_permitted_where_the_operator_permits_the_address(text):
    url = outgoing.check_url(f"http://{text}:8080/hook", networks("127.0.0.0/8"))
    assert (url.host, url.port, url.literal) == ("127.0.0.1", 8080, ipaddress.ip_address("127.0.0.1"))


@pytest.mark.parametrize(
    "text",
    [
        "", "example.com", "//example.com/", "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/",
        "javascript:alert(1)", "https:example.com", "https:///x", "https://", "https://:443/", "https://example.com:/",
        "https://example.com:0/", "https://example.com:65536/", "https://example.com:99999999/", "https://example.com:-1/",
        "https://example.com:8443/", "https://example.com:22/", "https://user@example.com/",
        "https://user:word@example.com/", "https://example.com\uff20127.0.0.1/", "https://example.com#@127.0.0.1/",
        "https://example.com\\@127.0.0.1/", "https://example.com/ x", "https://example.com/\r\nHost: a", "https://a\nb/",
        " https://example.com/", "https://example.com/\0", "https://exa mple.com/", "https://a..b/", "https://-a.example/",
        "https://.example.com/", "https://1.2.3.4.5/", "https://1.2.3.256/", "https://08.1/", "https://256.1.1.1/",
        "https://a.0x/x/../0x7g", "https://example.0x7f/", "https://4294967296/", "https://[::1/", "https://::1/", "https://[::1]x/",
        "https://[fe80::1%25eth0]/", "https://[1.2.3.4]/", "https://[v1.a]/", "https://example.com/ü",
        "https://" + "a" * 64 + ".example/", "https://" + "a." * 130 + "example/", "https://example.com/" + "x" * 2048,
        "https://exam%70le.com/", "https://%31%32%37.0.0.1/", "https://\ud800.example/",
    ],
)  # fmt: skip
def test_what_is_no_address_to_call_is_refused(text):
    with pytest.raises(errors.InvalidError) as caught:
        outgoing.check_url(text)
    assert caught.value.details["field"] == "url"
    assert "word" not in caught.value.message
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://example.com/webhook", ("https", "example.com", 443, "/webhook", "example.com")),
        ("HTTPS://Example.COM", ("https", "example.com", 443, "/", "example.com")),
        ("http://example.com:80/a?b=c&d", ("http", "example.com", 80, "/a?b=c&d", "example.com")),
        ("https://example.com:80/", ("https", "example.com", 80, "/", "example.com:80")),
        ("https://example.com?x=1", ("https", "example.com", 443, "/?x=1", "example.com")),
        ("https://bücher.example./x", ("https", "xn--bcher-kva.example", 443, "/x", "xn--bcher-kva.example")),
        ("https://[2606:4700:0:0::1111]/", ("https", "2606:4700::1111", 443, "/", "[2606:4700::1111]")),
        ("https://[::ffff:8.8.8.8]/", ("https", "8.8.8.8", 443, "/", "8.8.8.8")),
        ("https://8.8.2056/", ("https", "8.8.8.8", 443, "/", "8.8.8.8")),
        ("https://a_b.example/%2e/", ("https", "a_b.example", 443, "/%2e/", "a_b.example")),
    ],
)
def test_a_public_address_is_taken_apart(text, expected):
    url = outgoing.check_url(text)
    assert (url.scheme, url.host, url.port, url.target, url.host_header) == expected


def test_with_an_allow_list_a_name_may_have_any_port_until_it_is_resolved():
    assert outgoing.check_url("http://hooks.example:8080/", networks("10.0.0.0/8")).port == 8080


def test_an_allow_list_opens_what_it_names_and_nothing_else():
    allow = networks("10.1.0.0/16, fd00::/8")
    assert outgoing.address_issue(ipaddress.ip_address("10.1.2.3"), 8080, allow) == ""
    assert outgoing.address_issue(ipaddress.ip_address("::ffff:10.1.2.3"), 8080, allow) == ""
    assert outgoing.address_issue(ipaddress.ip_address("fd00::5"), 1, allow) == ""
    assert outgoing.address_issue(ipaddress.ip_address("10.2.0.1"), 443, allow)
    assert outgoing.address_issue(ipaddress.ip_address("8.8.8.8"), 8080, allow)


def test_the_setting_is_a_list_of_networks():
    assert networks("") == ()
    assert [str(network) for network in networks("10.0.0.0/8,::1")] == ["10.0.0.0/8", "::1/128"]
    with pytest.raises(ValueError, match="must be networks"):
        networks("10.0.0.1/8")
    with pytest.raises(ValueError, match="must be networks"):
        networks("example.com")


@given(st.text(max_size=60) | st.from_regex(r"https?://[0-9a-fx.\[\]:@]{1,30}(:[0-9]{1,5})?/?", fullmatch=True))
def test_any_text_is_refused_or_leads_to_something_public(text):
    try:
        url = outgoing.check_url(text)
    except errors.InvalidError:
        return
    assert url.port in {443, 80}
    assert url.host.isascii()
    assert url.literal is None or public.is_public(url.literal)
    assert url.literal is not None or outgoing.parse_v4(url.host) is None


@given(st.text(alphabet="0123456789abcdefx.", max_size=24))
def test_numbers_are_read_as_resolvers_read_them(text):
    import socket

    try:
        theirs = ipaddress.ip_address(socket.inet_aton(text))
    except OSError:
        return
    assert outgoing.parse_v4(text) == theirs


async def test_a_name_is_resolved_once_and_refused_when_any_address_is_not_public():
    names = Names(["93.184.216.34", "127.0.0.1"])
    with pytest.raises(errors.InvalidError, match="is not a public address") as caught:
        await Guard(names).check_target("https://hooks.example/")
    assert names.asked == ["hooks.example"]
    assert "127.0.0.1" not in caught.value.message


@pytest.mark.parametrize("address", HOSTILE)
async def test_a_name_that_leads_to_a_hostile_address_is_refused(address):
    with pytest.raises(errors.InvalidError):
        await Guard(Names([address])).check_target("https://hooks.example/")


async def test_a_name_is_checked_again_each_time():
    guard = Guard(Names(["93.184.216.34"], ["127.0.0.1"]))
    checked = await guard.check_target("https://hooks.example/")
    assert [str(address) for address in checked.addresses] == ["93.184.216.34"]
    with pytest.raises(errors.InvalidError):
        await guard.check_target("https://hooks.example/")


async def test_a_public_address_of_this_machine_is_refused_unless_it_is_allowed():
    names = Names(["93.184.216.34"])

    def ours(address: public.Address) -> bool:
        return str(address) == "93.184.216.34"

    with pytest.raises(errors.InvalidError, match="this machine"):
        await Guard(names, is_own=ours).check_target("https://hooks.example/")
    allow = networks("93.184.216.34")
    assert await Guard(names, allow, ours).check_target("http://hooks.example:8080/")


async def test_an_odd_port_needs_every_address_on_the_allow_list():
    allow = networks("10.0.0.0/8")
    guard = Guard(Names(["10.0.0.1"], ["10.0.0.1", "93.184.216.34"]), allow)
    assert await guard.check_target("http://hooks.example:8080/")
    with pytest.raises(errors.InvalidError, match="port 8080"):
        await guard.check_target("http://hooks.example:8080/")


async def test_a_mapped_answer_is_dialled_as_what_it_is():
    checked = await Guard(Names(["::ffff:93.184.216.34"])).check_target("https://hooks.example/")
    assert checked.addresses == (ipaddress.ip_address("93.184.216.34"),)


@pytest.mark.parametrize("answers", [[], ["not an address"]])
async def test_a_name_without_an_address_is_not_called(answers):
    with pytest.raises((errors.UnavailableError, errors.InvalidError)):
        await Guard(Names(answers)).check_target("https://hooks.example/")


def test_this_machine_knows_its_own_addresses():
    assert is_own(ipaddress.ip_address("127.0.0.1"))
    assert not is_own(ipaddress.ip_address("93.184.216.34"))
