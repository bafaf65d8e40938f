"""The wire between the real use cases on SQLite and the real journal: a deployment down, its state up, and the tombstone."""

import contextlib
import dataclasses

from control_plane import clock, store
from control_plane.hub import parts
from control_plane.notifier import LocalNotifier
from control_plane.services.context import Context, ensure_defaults
from control_plane.services.deployments import Deployments
from control_plane.services.desired import DesiredState
from control_plane.services.instances import Instances
from control_plane.services.services import Services
from control_plane.services.status import Status
from node_agent.model import status
from node_agent.state.journal import Journal
from tests import builders
from tests.builders import OPERATOR
from tests.hub_fixtures import Agent, Cable, Hub, a_report, eventually


class JournalInbox:
    def __init__(self, journal: Journal) -> None:
        self.accept = journal.put_wish
        self.generations = journal.generations


@contextlib.asynccontextmanager
async def world(tmp_path):
    system = clock.SystemClock()
    opened = await store.open(tmp_path / "control-plane.db", system)
    context = Context(opened, LocalNotifier(), system, clock.SystemIds())
    await ensure_defaults(context)
    hub = Hub(tmp_path)
    hub.services = parts.Services(
        DesiredState(context),
        Status(context),
        Instances(context),
        Instances(context),
        context.notifier,
    )
    await hub.start()
    hub.secret = await Instances(context).mint_join_token(None)
    journal = await Journal.open(tmp_path / "journal.db")
    agent = Agent(hub, tmp_path / "agent")
    agent.inbox, agent.spool = JournalInbox(journal), journal
    try:
        async with Cable(hub).plugged() as cable:
            agent.address = cable.address
            await agent.join()
            agent.start()
            await agent.connected()
            try:
                yield context, journal, agent, cable
            finally:
                await agent.stop()
    finally:
        await hub.stop()
        await journal.close()
        await opened.close()


async def test_a_deployment_goes_down_its_state_comes_up_and_its_removal_is_confirmed(tmp_path):
    async with world(tmp_path) as (context, journal, _, _cable):
        deployments = Deployments(context)
        view = await deployments.create(OPERATOR, builders.some_fields(env={"A": "1"}))
        service_id = view.deployment.service_id
        wanted, _ = await eventually(lambda: journal.wish(service_id))
        assert wanted.release.env == (("A", "1"),)

        async def acknowledged():
            return (await Services(context).get(OPERATOR, service_id)).acknowledged == wanted.generation

        await eventually(acknowledged)
        said = a_report(service_id=service_id, generation=wanted.generation)
        live = status.ReleaseReport(1, status.ReleaseState.LIVE, commit="abc", changed_at=1.0)
        await journal.spool(dataclasses.replace(said, live_release=1, releases=(live,), routes=()))

        async def running():
            return (await deployments.get(OPERATOR, "app")).status == "running"

        await eventually(running)
        await deployments.delete(OPERATOR, "app")

        async def tombstone():
            held = await journal.generations()
            return held[service_id] > wanted.generation and held[service_id]

        generation = await eventually(tombstone)
        await journal.spool(dataclasses.replace(said, observed_generation=generation, removed=True))

        async def gone():
            return not (await deployments.list(OPERATOR)).items

        await eventually(gone)
        assert await journal.pending() == ()


async def test_reports_survive_a_connection_that_breaks_again_and_again(tmp_path):
    async with world(tmp_path) as (context, journal, _, cable):
        view = await Deployments(context).create(OPERATOR, builders.some_fields())
        service_id = view.deployment.service_id
        wanted, _ = await eventually(lambda: journal.wish(service_id))
        for number in range(20):
            said = a_report(f"report {number}", service_id=service_id, generation=wanted.generation)
            await journal.spool(dataclasses.replace(said, releases=(), routes=()))
            cable.cut()

        async def arrived():
            observed = (await Services(context).get(OPERATOR, service_id)).observed
            return observed.message == "report 19" and not await journal.pending()

        await eventually(arrived)
