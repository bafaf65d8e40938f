"""Which processes a release runs as."""

import dataclasses

from node_agent.model import spec
from node_agent.model.formation import Member, formation
from tests.unit.test_plan import a_release


def test_web_runs_as_often_as_asked_for_and_each_other_process_once() -> None:
    release = dataclasses.replace(a_release(), replicas=2, processes=(("clock", "tick"), ("mail", "send")))
    web = [Member("web.1", "npm start"), Member("web.2", "npm start")]
    assert formation(release, "", static=False) == (*web, Member("clock.1", "tick"), Member("mail.1", "send"))


def test_each_other_process_runs_as_often_as_is_said_and_none_is_a_number() -> None:
    processes = (("clock", "tick"), ("mail", "send"), ("release", "migrate"), ("spare", "wait"))
    release = dataclasses.replace(
        a_release(), run_cmd="", processes=processes, process_replicas=(("mail", 2), ("release", 3), ("spare", 0))
    )
    names = [member.name for member in formation(release, "", static=False)]
    assert names == ["clock.1", "mail.1", "mail.2"]


def test_a_process_that_nothing_says_how_to_start_is_of_the_set_without_a_command() -> None:
    release = dataclasses.replace(a_release(), run_cmd="", process_replicas=(("maid", 2), ("none", 0)))
    assert formation(release, "", static=True) == (Member("maid.1", ""), Member("maid.2", ""))


def test_what_was_detected_starts_web_when_the_release_says_nothing() -> None:
    release = dataclasses.replace(a_release(), run_cmd="")
    assert formation(release, "node .", static=False) == (Member("web.1", "node ."),)
    assert formation(release, "", static=False) == ()


def test_files_need_no_web_but_may_have_other_processes() -> None:
    release = dataclasses.replace(a_release(runtime=spec.Runtime.STATIC), processes=(("worker", "work"),))
    assert formation(release, "node .", static=True) == (Member("worker.1", "work"),)
