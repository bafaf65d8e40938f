"""Joining: one token, one instance, and nobody in between. Real TLS on loopback."""

import asyncio
import stat

import grpc
import pytest
from cryptography import x509

from control_plane.certificates.authority import Authority
from control_plane.clock import SystemClock
from control_plane.hub import settings as hub_settings
from node_agent import errors
from node_agent.paths import Paths
from node_agent.session import identity
from node_agent.session.settings import CLIENT
from protos import agent_pb2 as pb
from protos import agent_pb2_grpc as rpc
from tests.hub_fixtures import SECRET, a_hub, an_agent, eventually


async def test_joining_gives_a_certificate_that_is_found_again(tmp_path):
    async with a_hub(tmp_path / "hub") as hub:
        paths = Paths(tmp_path / "agent")
        joined = await identity.enrol(paths, hub.token, hub.enrol_address, "host-a")
        assert identity.load(paths) == joined
        assert joined.instance_id in hub.instances.epochs
        assert stat.S_IMODE(paths.identity.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in paths.identity.iterdir()} == {0o600}
        assert "PRIVATE" not in repr(joined)


async def test_of_fifty_joins_with_one_token_exactly_one_succeeds(tmp_path):
    async with a_hub(tmp_path / "hub") as hub:
        joins = [identity.enrol(Paths(tmp_path / str(n)), hub.token, hub.enrol_address) for n in range(50)]
        results = await asyncio.gather(*joins, return_exceptions=True)
        assert len([result for result in results if isinstance(result, identity.Identity)]) == 1
        assert len([result for result in results if isinstance(result, errors.EnrolmentRefusedError)]) == 49
        assert len(hub.instances.epochs) == 1


async def test_a_wrong_fingerprint_is_refused_before_the_secret_is_shown(tmp_path):
    async with a_hub(tmp_path / "hub") as hub:
        with pytest.raises(errors.EnrolmentRefusedError, match="another installation"):
            await identity.enrol(Paths(tmp_path / "agent"), f"{SECRET}.{'0' * 64}", hub.enrol_address)
        assert hub.instances.secrets == {SECRET}


@pytest.mark.parametrize("token", ["", "x.y", SECRET, f"{SECRET}.{'0' * 63}", f"{SECRET}.{'0' * 64}.x"])
async def test_a_malformed_token_is_refused(tmp_path, token):
    with pytest.raises(errors.EnrolmentRefusedError, match="malformed"):
        await identity.enrol(Paths(tmp_path / "agent"), token, "127.0.0.1:1")


async def test_joining_where_nobody_listens_may_be_tried_again(tmp_path):
    with pytest.raises(errors.ControlPlaneUnavailableError) as raised:
        await identity.enrol(Paths(tmp_path / "agent"), f"{SECRET}.{'0' * 64}", "127.0.0.1:1")
    assert raised.value.retryable


async def test_a_bad_csr_does_not_use_the_token_up(tmp_path):
    async with a_hub(tmp_path / "hub") as hub:
        credentials = grpc.ssl_channel_credentials(hub.authority.enrolment_pair()[1])
        options = [*CLIENT, ("grpc.ssl_target_name_override", identity.ENROLMENT_NAME)]
        async with grpc.aio.secure_channel(hub.enrol_address, credentials, options) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                request = pb.EnrolRequest(join_token=SECRET, csr_pem=b"nonsense")
                await rpc.EnrolmentStub(channel).Enrol(request, timeout=5)
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert hub.instances.secrets == {SECRET}


async def test_a_damaged_identity_is_refused_with_the_next_step(tmp_path):
    async with a_hub(tmp_path / "hub") as hub:
        paths = Paths(tmp_path / "agent")
        await identity.enrol(paths, hub.token, hub.enrol_address)
        (paths.identity / "key.pem").write_bytes(b"broken")
        with pytest.raises(errors.EnrolmentRefusedError, match="join with a fresh token"):
            identity.load(paths)


async def _refusal(address, credentials) -> grpc.aio.AioRpcError:
    options = [*CLIENT, ("grpc.ssl_target_name_override", identity.HUB_NAME)]
    async with grpc.aio.secure_channel(address, credentials, options) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await rpc.HubStub(channel).SendSample(pb.Sample(), timeout=5)
    return raised.value


async def test_the_hub_talks_to_nobody_without_a_client_certificate(tmp_path):
    async with a_hub(tmp_path / "hub") as hub:
        refusal = await _refusal(hub.address, grpc.ssl_channel_credentials(hub.authority.ca_pem))
        assert refusal.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_certificate_of_another_ca_is_refused_both_ways(tmp_path):
    async with a_hub(tmp_path / "hub") as hub, a_hub(tmp_path / "other") as other:
        stranger = await identity.enrol(Paths(tmp_path / "agent"), other.token, other.enrol_address)
        own = grpc.ssl_channel_credentials(hub.authority.ca_pem, stranger.key_pem, stranger.certificate_pem)
        assert (await _refusal(hub.address, own)).code() is grpc.StatusCode.UNAVAILABLE
        theirs = grpc.ssl_channel_credentials(stranger.ca_pem, stranger.key_pem, stranger.certificate_pem)
        assert (await _refusal(hub.address, theirs)).code() is grpc.StatusCode.UNAVAILABLE


async def test_the_hubs_own_certificate_names_no_instance(tmp_path):
    async with a_hub(tmp_path / "hub") as hub:
        key, certificate = hub.authority.issue_server(["127.0.0.1"])
        refusal = await _refusal(hub.address, grpc.ssl_channel_credentials(hub.authority.ca_pem, key, certificate))
        assert refusal.code() in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNAVAILABLE}


async def test_an_instance_without_a_session_gets_no_other_call(tmp_path):
    async with a_hub(tmp_path / "hub") as hub:
        who = await identity.enrol(Paths(tmp_path / "agent"), hub.token, hub.enrol_address)
        credentials = grpc.ssl_channel_credentials(who.ca_pem, who.key_pem, who.certificate_pem)
        assert (await _refusal(hub.address, credentials)).code() is grpc.StatusCode.FAILED_PRECONDITION
        assert hub.instances.samples == []


async def test_an_unknown_instance_is_refused_and_keeps_asking_slowly(tmp_path):
    async with a_hub(tmp_path / "hub") as hub, an_agent(hub, tmp_path / "agent") as agent:
        hub.instances.epochs.clear()
        await hub.stop()
        hub.settings = hub_settings.HubSettings(hub_port=hub.settings.hub_port, enrol_port=hub.settings.enrol_port)

        async def disconnected(instance_id, epoch):
            return None

        hub.instances.disconnected = disconnected
        await hub.start()
        await eventually(lambda: not agent.session.connected)
        hub.instances.epochs[agent.identity.instance_id] = 7
        await agent.connected()


async def test_the_certificate_is_renewed_at_two_thirds_of_its_life_over_a_new_connection(tmp_path):
    async with a_hub(tmp_path / "hub") as hub, an_agent(hub, tmp_path / "agent") as agent:
        await agent.stop()
        old = agent.identity
        real = agent.clock

        class Later:
            def __init__(self) -> None:
                self.at = old.renew_at + 1

            def monotonic(self) -> float:
                return real.monotonic()

            def now(self) -> float:
                return self.at

        agent.clock = Later()
        epoch = hub.instances.epochs[old.instance_id]
        agent.start()
        await eventually(lambda: identity.load(agent.paths).certificate_pem != old.certificate_pem)
        agent.clock.at = real.now()
        await eventually(lambda: hub.instances.epochs[old.instance_id] >= epoch + 2)
        await agent.connected()
        new = identity.load(agent.paths)
        assert (new.instance_id, new.key_pem) == (old.instance_id, old.key_pem)


async def test_the_hubs_certificate_follows_the_clock_while_it_listens(tmp_path):
    async with a_hub(tmp_path / "hub") as hub:
        await hub.stop()
        seen = []
        real = hub.authority

        class Counting:
            ca_pem = real.ca_pem

            def __getattr__(self, name):
                return getattr(real, name)

            def issue_server(self, names):
                seen.append(names)
                return real.issue_server(names)

        hub.authority = Counting()
        await hub.start()
        assert len(seen) == 1
        moved = x509.load_pem_x509_certificate(real.issue_server([])[1]).not_valid_after_utc

        class Moved:
            def monotonic(self):
                return 0.0

            def now(self):
                return moved

        hub.server._certificate._clock = Moved()
        async with an_agent(hub, tmp_path / "agent") as agent:
            assert agent.session.connected
        assert len(seen) >= 2


async def test_two_hubs_cannot_share_a_port(tmp_path):
    async with a_hub(tmp_path / "hub") as hub:
        second = type(hub)(tmp_path / "second")
        second.settings = hub.settings
        with pytest.raises(Exception, match=r"cannot listen on 127\.0\.0\.1"):
            await second.start()


def test_an_authority_is_loaded_as_it_was_made(tmp_path):
    first = Authority.load_or_create(tmp_path / "ca", SystemClock())
    assert Authority.load_or_create(tmp_path / "ca", SystemClock()).fingerprint() == first.fingerprint()
