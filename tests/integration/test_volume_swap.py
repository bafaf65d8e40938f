"""The moment in which what was restored takes a volume's place: the supervisor looks once more before it does."""

import types

import pytest

from node_agent.model.process import JobKind, JobResult, JobSpec
from node_agent.paths import Paths
from node_agent.supervisor import job_protocol
from node_agent.supervisor.host import RefusedError
from node_agent.supervisor.verbs import Verbs
from tests.supervisor_host import SERVICE

RUN = "run_" + "0" * 26
JOB = JobSpec(SERVICE, 0, "", (), "", "", 60.0, JobKind.RESTORE, run_id=RUN, volumes=("data",), volume="data")


class Supervisor:
    """The verbs over processes and jobs that a test plays. `busy` is what runs of the service."""

    def __init__(self, paths: Paths) -> None:
        self.busy = ""
        self.done = None
        self.answered: list[JobResult] = []
        self.refused: list[str] = []
        host = types.SimpleNamespace(paths=paths)
        self.verbs = Verbs(host, self, self, None, lambda: None)

    def restore(self) -> None:
        self.verbs.handle(JobKind.RESTORE.value, job_protocol.encode_job_spec(JOB), self)

    # processes and jobs

    def demand_none(self, service_id: str, what: str) -> None:
        if self.busy:
            raise RefusedError(f"cannot {what} {service_id}: stop {self.busy} first")

    def demand_no_run(self, service_id: str, what: str) -> None:
        """No command runs."""

    def run(self, spec: JobSpec, done) -> None:
        self.done = done

    # the answer

    def ok(self, value=None) -> None:
        self.answered.append(job_protocol.decode_job_result(value))

    def refuse(self, words: str) -> None:
        self.refused.append(words)

    def if_abandoned(self, do) -> None:
        """Whoever asked stays."""


@pytest.fixture
def paths(tmp_path):
    """A volume with an old file, and what was restored beside it."""
    found = Paths(tmp_path)
    for place, name in ((found.volume(SERVICE, "data"), "old"), (found.volume_draft(SERVICE, "data"), "new")):
        place.mkdir(parents=True)
        (place / name).touch()
    return found


def held(paths: Paths) -> list[str]:
    return [entry.name for entry in paths.volume(SERVICE, "data").iterdir()]


def test_what_was_restored_takes_the_place_of_a_volume_that_nobody_uses(paths):
    supervisor = Supervisor(paths)
    supervisor.restore()
    supervisor.done(JobResult("exited", 0, 1.0))
    assert held(paths) == ["new"]
    assert [entry.name for entry in paths.volume_former(SERVICE, "data").iterdir()] == ["old"]
    assert supervisor.answered == [JobResult("exited", 0, 1.0)]


def test_a_process_that_was_started_meanwhile_keeps_what_it_sees(paths):
    supervisor = Supervisor(paths)
    supervisor.restore()
    supervisor.busy = "web.1"
    supervisor.done(JobResult("exited", 0, 1.0))
    (result,) = supervisor.answered
    assert (result.outcome, result.last_lines) == (
        "start_failed",
        (f"cannot restore a volume of {SERVICE}: stop web.1 first",),
    )
    assert held(paths) == ["old"]


@pytest.mark.parametrize("result", [JobResult("exited", 2, 1.0), JobResult("timeout", 9, 1.0)])
def test_what_was_not_restored_whole_takes_no_place(paths, result):
    supervisor = Supervisor(paths)
    supervisor.restore()
    supervisor.done(result)
    assert (held(paths), supervisor.answered) == (["old"], [result])


def test_a_swap_that_fails_leaves_the_volume_and_says_so(paths):
    supervisor = Supervisor(paths)
    supervisor.restore()
    (paths.volume_draft(SERVICE, "data") / "new").unlink()
    paths.volume_draft(SERVICE, "data").rmdir()
    supervisor.done(JobResult("exited", 0, 1.0))
    assert supervisor.answered[0].outcome == "start_failed"
    assert held(paths) == ["old"]


def test_nothing_is_begun_while_a_process_runs(paths):
    supervisor = Supervisor(paths)
    supervisor.busy = "web.1"
    supervisor.restore()
    assert supervisor.done is None
    assert supervisor.refused == [f"cannot restore a volume of {SERVICE}: stop web.1 first"]
