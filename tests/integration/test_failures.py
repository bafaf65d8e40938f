"""Failures that come from the host around a release: each is told by its reason, once, with the next step."""

import contextlib
import dataclasses
import errno
import socket

import pytest

from node_agent import errors
from node_agent.builder import seal
from node_agent.builder.git_command import GitCommand
from node_agent.model import spec, status
from node_agent.model.process import JobKind, JobResult
from node_agent.model.status import ReleaseState
from node_agent.reconciler import allotment
from node_agent.reconciler import host as hosts
from node_agent.reconciler.host import ServiceHost
from tests.builder_fixtures import Bench
from tests.integration.test_builder_host import bench as bench  # noqa: PLC0414 - the fixture
from tests.integration.test_reconciler import Rig, a_wish, states
from tests.integration.test_reconciler import rig as rig  # noqa: PLC0414 - the fixture
from tests.unit.test_plan import SERVICE, a_release


async def failed(rig: Rig, release: spec.ReleaseSpec, generation: int = 1) -> status.ReleaseReport:
    await rig.reconciler.accept(a_wish(generation, release))
    report = await rig.until(lambda r: states(r).get(1) is ReleaseState.FAILED, "the failure")
    return report.releases[0]


def an_app(**changes: object) -> spec.ReleaseSpec:
    return dataclasses.replace(a_release(1), commit="c" * 40, **changes)


async def test_a_host_without_a_free_port_says_so(rig: Rig, monkeypatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(allotment, "ports_for", lambda _: iter([taken.getsockname()[1]]))
        found = await failed(rig, an_app())
    assert (found.reason, found.message) == ("no_port", "this host has no free port left; delete a service")


async def test_a_fixed_port_that_something_else_has_is_named(rig: Rig) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = await failed(rig, an_app(port=port, port_mode="fixed"))
    assert found.reason == "port_in_use"
    assert f"port {port} is in use on this host by something else; stop that" in found.message


async def test_a_build_that_restarts_interrupted_again_and_again_is_given_up(rig: Rig) -> None:
    await rig.journal.put_wish(a_wish(1, an_app()))
    for _ in range(hosts.ATTEMPTS):
        await rig.journal.count_attempt(SERVICE, 1)
    found = await failed(rig, an_app(), generation=2)
    assert (found.reason, rig.supervisor.started) == ("interrupted", [])


async def test_a_release_that_the_journal_lost_is_told_so(rig: Rig) -> None:
    with pytest.raises(errors.ReleaseFailedError, match="release 7 is not in the journal; deploy again") as lost:
        await ServiceHost(SERVICE, rig.host, lambda: None).release(7)
    assert lost.value.code == "unknown_release"


async def test_a_host_without_git_says_what_to_install(tmp_path) -> None:
    with pytest.raises(errors.ReleaseFailedError, match=f"not in {tmp_path}; install the package ") as missing:
        await GitCommand(tmp_path, path=str(tmp_path)).run(("version",), {})
    assert missing.value.code == "git_missing"


@contextlib.contextmanager
def sealing(bench: Bench, result: JobResult):
    """Every build is handed over with this result."""
    run_job = bench.jobs.run_job

    async def answer(job):
        return result if job.kind is JobKind.SEAL else await run_job(job)

    bench.jobs.run_job = answer
    yield
    bench.jobs.run_job = run_job


async def test_a_build_that_cannot_be_handed_over_fails_with_the_words_of_who_refused(bench) -> None:
    bench.repository.write({"index.html": "x"})
    refused = JobResult("exited", 2, 0.0, ("cannot hand over the build: ./passwd is somebody else's",))
    with sealing(bench, refused), pytest.raises(errors.ReleaseFailedError, match=r"\./passwd is somebody") as found:
        await bench.build(bench.release())
    assert found.value.code == "bad_build_tree"


async def test_a_full_disk_fails_the_release_and_leaves_nothing(bench, monkeypatch) -> None:
    bench.repository.write({"index.html": "x"})

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(seal, "stage", full)
    with pytest.raises(errors.ReleaseFailedError, match="the disk of the host is full; delete what is") as found:
        await bench.build(bench.release())
    assert (found.value.code, await bench.left_over()) == ("disk_full", [])
