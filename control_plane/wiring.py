"""The control plane's composition root: one loop, started and stopped in order. The only file that may import all.

Start: store (migrations), operator, hub, web. Stop: web refuses new work and ends followers, then hub, then store.
"""

import asyncio
import contextlib
import gc
import os
import pathlib
import signal
import sys
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import structlog

from control_plane import clock as clocks
from control_plane import config, errors, logs, ports
from control_plane.api import system
from control_plane.certificates.authority import Authority
from control_plane.config import Settings
from control_plane.delivery.client import Client
from control_plane.delivery.guard import Guard
from control_plane.delivery.resolver import SystemResolver
from control_plane.delivery.sender import Sender
from control_plane.domain import instance
from control_plane.hub import parts
from control_plane.hub.relay import Relay
from control_plane.hub.runs import Runs
from control_plane.hub.server import HubServer
from control_plane.hub.settings import HubSettings
from control_plane.notifier import LocalNotifier
from control_plane.service_manager import ServiceManager
from control_plane.services import leases
from control_plane.services.accounts import Accounts
from control_plane.services.archives import Archives
from control_plane.services.context import Context, ensure_defaults
from control_plane.services.deliveries import Deliveries
from control_plane.services.desired import DesiredState
from control_plane.services.housekeeping import Housekeeping
from control_plane.services.instances import Entrance, Instances
from control_plane.services.leases import Leasehold
from control_plane.services.presence import Presence
from control_plane.services.reaper import Reaper
from control_plane.services.status import Status
from control_plane.store import open_store
from control_plane.store.archives import FileArchives
from control_plane.web import server
from control_plane.web.app import AppServices, HttpSettings, Readiness, create_app
from control_plane.web.core import Core

log = structlog.get_logger()
ALL = 200
REAP_EVERY_S = 30.0
HOUSEKEEPING_S = 3600.0
SETUP_HINT = """\
There is no operator yet, so the API does nothing else. On this machine, within 30 minutes:
  POST http://127.0.0.1:{port}/v1/auth/setup  {{"token": "{token}", "email": "...", "password": "..."}}
"""


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises DployrError when it cannot begin."""
    logs.configure()
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    manager = ServiceManager()
    stop = _stop_event(manager)
    clock, ids = clocks.SystemClock(), clocks.SystemIds()
    async with _store(settings, clock) as store:
        context = _context(settings, store, clock, ids)
        await ensure_defaults(context)
        accounts = Accounts(context)
        setup_token = await _first_operator(settings, accounts)
        authority = Authority.load_or_create(settings.data_dir / "ca", clock)
        relay, runs = Relay(ids), Runs()
        files = FileArchives(settings.data_dir / "archives", clock)
        archives = Archives(context, files, settings.max_project_source_bytes)
        reaper = Reaper(context, settings.release_timeout_s, settings.release_waiting_s)
        async with (
            _hub(settings, context, authority, relay, runs, archives) as entrance,
            _beside(
                _send(context),
                _keep_house(context, archives),
                _reap(reaper),
                _watch_leases(Presence(context)),
                _stay_alive(manager),
            ),
        ):
            await _join_token(settings, context, authority)
            use_cases = _use_cases(context, relay, runs, archives, entrance)
            app = create_app(use_cases, Core(asyncio.get_running_loop()).call, _http(settings))
            gc.collect()  # what is there now stays: the collector need not look at it again with every full round
            gc.freeze()
            await server.serve(
                app,
                settings.api_host,
                settings.api_port,
                stop,
                lambda port: _listening(settings, port, setup_token, manager),
            )
    log.info("control_plane.stopped")


def _context(settings: Settings, store: ports.Store, clock: clocks.Clock, ids: clocks.Ids) -> Context:
    return Context(
        store=store,
        notifier=LocalNotifier(),
        clock=clock,
        ids=ids,
        proxy_url=settings.proxy_url,
        allow_file_remotes=settings.allow_file_remotes,
        allow_ssh_remotes=settings.allow_ssh_remotes,
        base_url=settings.public_url,
        webhook_allow=settings.webhook_allow,
    )


@contextlib.asynccontextmanager
async def _beside(*jobs: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Jobs that run as long as the block. One that fails ends the block, and with it the daemon."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(job) for job in jobs]
            yield
            for task in tasks:
                task.cancel()
    except BaseExceptionGroup as several:  # what failed first says why, in words of its own
        raise several.exceptions[0] from None


async def _send(context: Context) -> None:
    """Send webhooks while the lease is ours; hand it back when nothing is in flight any more."""
    turn = Leasehold(context, leases.WEBHOOKS, context.ids.new("rep"))
    client = Client(Guard(SystemResolver(), context.webhook_allow), context.clock)
    queue, version = Deliveries(context), system.product_version()
    sender = Sender(queue, turn.is_ours, client, context.clock, clocks.system_chance(), version)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(turn.keep(), name="lease.webhooks")
            group.create_task(sender.run(), name="delivery")
    finally:
        await turn.hand_back()


async def _keep_house(context: Context, archives: Archives) -> None:
    house = Housekeeping(context)
    while True:
        try:
            await house.run()
            await archives.sweep()
        except (errors.DployrError, OSError) as error:  # the next round does it
            log.warning("housekeeping.postponed", error=str(error))
        await asyncio.sleep(HOUSEKEEPING_S)


def _stop_event(manager: ServiceManager) -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def asked() -> None:
        manager.stopping()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked)
    return stop


@contextlib.asynccontextmanager
async def _store(settings: Settings, clock: clocks.Clock) -> AsyncIterator[ports.Store]:
    store = await open_store(settings.database, clock)
    try:
        yield store
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def _hub(
    settings: Settings, context: Context, authority: Authority, relay: Relay, runs: Runs, archives: Archives
) -> AsyncIterator[Entrance]:
    services = parts.Services(
        desired=DesiredState(context),
        status=Status(context),
        instances=Instances(context),
        audit=Instances(context),
        notifier=context.notifier,
        archives=archives,
    )
    addresses = HubSettings(host=settings.hub_host, hub_port=settings.hub_port, enrol_port=settings.enrol_port)
    hub = HubServer(services, authority, relay, context.clock, addresses, runs)
    hub_port, enrol_port = await hub.start()
    try:
        yield entrance_of(settings, hub_port, enrol_port, authority.fingerprint())
    finally:
        await hub.stop(2.0)


def entrance_of(settings: Settings, hub_port: int, enrol_port: int, fingerprint: str) -> Entrance:
    """Where agents join: the public address if there is one; its port, if it has one, is that of the hub."""
    host, port = config.split_address(settings.public_hub_address or settings.hub_host)
    shown = f"[{host}]" if ":" in host else host
    return Entrance(f"{shown}:{port or hub_port}", f"{shown}:{enrol_port}", fingerprint)


async def _reap(reaper: Reaper) -> None:
    while True:
        try:
            await reaper.reap()
        except errors.DployrError as error:  # the database was busy: the next turn comes soon
            log.warning("reaper.failed", error=error.message)
        await asyncio.sleep(REAP_EVERY_S)


async def _stay_alive(manager: ServiceManager) -> None:
    """Told from the loop: when it hangs, nothing is told."""
    while manager.ping_s:
        manager.alive()
        await asyncio.sleep(manager.ping_s)


async def _watch_leases(presence: Presence) -> None:
    """Not at once: after a pause of this daemon its agents need a moment to come back, and none of them is to blame."""
    while True:
        await asyncio.sleep(instance.LEASE_S)
        try:
            await presence.lapse()
        except errors.DployrError as error:
            log.warning("leases.unwatched", error=error.message)


async def _first_operator(settings: Settings, accounts: Accounts) -> str:
    """Make the first operator from the settings; without such settings the token with which somebody makes it, once."""
    if await accounts.has_admin():
        return ""
    if not settings.admin_email or settings.admin_password_file is None:
        log.warning("operator.missing", next="POST /v1/auth/setup with the token that is printed")
        return await accounts.setup.issue()
    try:
        password = settings.admin_password_file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise errors.InvalidError(
            f"cannot read admin_password_file {settings.admin_password_file}: {error.strerror}"
        ) from error
    await accounts.ensure_admin(settings.admin_email, password)
    return ""


def _listening(settings: Settings, port: int, setup_token: str, manager: ServiceManager) -> None:
    log.info("api.listening", host=settings.api_host, port=port)
    manager.ready()
    if setup_token:  # past the log: it is shown once, and kept nowhere
        sys.stderr.write(SETUP_HINT.format(port=port, token=setup_token))
        sys.stderr.flush()


async def _join_token(settings: Settings, context: Context, authority: Authority) -> None:
    """A fresh single-use token for the host's own agent, as long as no instance has joined."""
    if settings.join_token_file is None:
        return
    async with context.store.read() as tx:
        if await tx.list_instances(None, 1):
            return
    secret = await Instances(context).mint_join_token(None)
    _write_private(settings.join_token_file, f"{secret}.{authority.fingerprint()}\n")


def _write_private(path: pathlib.Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(text)
    temporary.replace(path)


def _use_cases(
    context: Context, relay: ports.LogRelay, runs: ports.Runs, archives: Archives, entrance: Entrance
) -> AppServices:
    async def ready() -> Readiness:
        """The hub listens as long as this runs: wiring serves the API inside its block."""
        try:
            async with context.store.read() as tx:
                operator = await tx.count_users() > 0
                hosts = await tx.list_instances(None, ALL)
        except errors.DployrError:
            return Readiness(database=False, operator=False, hub=True, instances_online=0)
        now = context.clock.now()
        online = sum(instance.presented(host, now).online for host in hosts)
        return Readiness(database=True, operator=operator, hub=True, instances_online=online)

    return AppServices.over(context, relay, ready, runner=runs, archive=archives, entrance=lambda: entrance)


def _http(settings: Settings) -> HttpSettings:
    return HttpSettings(
        requests_per_hour=settings.rate_limit_user,
        anonymous_per_hour=settings.rate_limit_anonymous,
        trusted_hops=settings.trusted_hops,
        local_instance=settings.local_instance,
        rate_limit_storage=settings.rate_limit_storage,
        max_source_bytes=settings.max_source_bytes,
        max_streams=settings.max_streams,
    )
