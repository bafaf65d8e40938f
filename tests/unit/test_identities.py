"""Who has which uid: stable, durable, given again late (T27). The clock and the sight of the host are injected."""

import dataclasses
import os
import pathlib
import random

import hypothesis
import pytest
from hypothesis import strategies

from node_agent.supervisor import identities
from node_agent.supervisor.identities import REST_S, ExhaustedError, Identities, Identity, SpanError


@dataclasses.dataclass
class Clock:
    at: float = 0.0

    def monotonic(self) -> float:
        return self.at

    def now(self) -> float:
        return self.at


class Host:
    """A disk, a clock, and the services of which something is left."""

    def __init__(self, file: pathlib.Path, span: str = "200000-200015") -> None:
        self.file, self.clock = file, Clock()
        self.span = identities.parse_span(span)
        self.left: set[str] = set()
        self.owners: dict[str, int] = {}

    def open(self) -> Identities:
        return Identities(
            self.file, self.span, self.clock, lambda name, _: name not in self.left, lambda: dict(self.owners)
        )


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Host:
    return Host(tmp_path / "identities")


def test_a_service_keeps_its_pair_over_every_restart(host: Host) -> None:
    first = host.open()
    assert [first.ensure(name) for name in ("a", "b", "a")] == [Identity(200000), Identity(200002), Identity(200000)]
    assert host.open().ensure("b") == Identity(200002)
    assert (Identity(200002).build, Identity(200002).group) == (200003, 200002)


def test_a_pair_rests_and_is_given_again_only_when_nothing_of_its_service_is_left(host: Host) -> None:
    host.span = identities.parse_span("200000-200001")
    known = host.open()
    known.ensure("a")
    host.left = {"a"}
    known.release("a")
    host.clock.at = REST_S - 0.1
    host.left = set()
    with pytest.raises(ExhaustedError):
        known.ensure("b")
    host.left, host.clock.at = {"a"}, REST_S
    with pytest.raises(ExhaustedError):
        known.ensure("b")
    host.left = set()
    assert known.ensure("b") == Identity(200000)


def test_several_services_get_their_pairs_in_one_go_and_keep_those_they_have(host: Host) -> None:
    known = host.open()
    known.ensure("b")
    known.ensure_all(["a", "b", "c", "a"])
    expected = {"b": 200000, "a": 200002, "c": 200004}
    assert known.ledger()[0] == expected
    assert host.open().ledger()[0] == expected


def test_when_there_is_no_pair_for_one_of_several_none_of_them_gets_any(host: Host) -> None:
    host.span = identities.parse_span("200000-200003")
    known = host.open()
    known.ensure("a")
    with pytest.raises(ExhaustedError):
        known.ensure_all(["b", "c"])
    assert known.ledger() == host.open().ledger() == ({"a": 200000}, {})
    assert known.ensure("c") == Identity(200002)


def test_when_the_file_cannot_be_written_none_of_several_gets_any(host: Host) -> None:
    known = host.open()
    known.ensure("a")
    host.file.with_name(f".{host.file.name}.{os.getpid()}.new").mkdir()
    with pytest.raises(OSError, match="directory"):
        known.ensure_all(["b", "c"])
    assert known.ledger() == ({"a": 200000}, {})


def test_a_restart_begins_the_rest_anew(host: Host) -> None:
    host.span = identities.parse_span("200000-200001")
    known = host.open()
    known.ensure("a")
    known.release("a")
    host.clock.at = REST_S - 1
    again = host.open()
    host.clock.at = REST_S + 1
    with pytest.raises(ExhaustedError):
        again.ensure("b")


def test_200_rounds_of_create_and_delete_never_share_a_pair_and_leave_an_equal_ledger(host: Host) -> None:
    chance, known, living, seen = random.Random(4), host.open(), dict[str, int](), dict[int, float]()
    for step in range(200):
        name = f"service{step}"
        host.clock.at += 20.0
        living[name] = known.ensure(name).app
        assert len(set(living.values())) == len(living)
        assert host.clock.at - seen.get(living[name], -REST_S) >= REST_S
        if len(living) > 2:
            gone = chance.choice(sorted(living))
            seen[living.pop(gone)] = host.clock.at
            known.release(gone)
        if step % 20 == 0:
            known = host.open()
            assert known.ledger()[0] == living
            host.clock.at += REST_S  # every rest began anew
    for name in tuple(living):
        known.release(name)
    used, resting = known.ledger()
    assert used == {}
    assert set(resting) == set(host.span)
    assert host.open().ledger() == (used, resting)


@hypothesis.settings(max_examples=25)
@hypothesis.given(strategies.data())
def test_a_damaged_file_is_set_aside_and_read_off_the_directories(
    tmp_path_factory: pytest.TempPathFactory, data: strategies.DataObject
) -> None:
    host = Host(tmp_path_factory.mktemp("damaged") / "identities")
    known = host.open()
    host.owners = {name: known.ensure(name).app for name in ("a", "b", "c")}
    whole = host.file.read_bytes()
    place = data.draw(strategies.integers(0, len(whole) * 8 - 1))
    changed = bytearray(whole)
    changed[place // 8] ^= 1 << place % 8
    host.file.write_bytes(
        data.draw(strategies.sampled_from([bytes(changed), whole[: min(place // 8, len(whole) - 2)], b""]))
    )
    again = host.open()
    assert {name: again.ensure(name).app for name in ("a", "b", "c")} == host.owners
    assert again.ensure("d").app not in host.owners.values()
    assert host.file.with_name("identities.damaged").exists()


def test_what_cannot_be_written_is_not_given_out(host: Host) -> None:
    known = host.open()
    known.ensure("a")
    host.file = host.file.parent / "missing" / "identities"
    known._file = host.file
    with pytest.raises(FileNotFoundError):
        known.ensure("b")
    with pytest.raises(FileNotFoundError):
        known.release("a")
    assert known.ledger() == ({"a": 200000}, {})


@pytest.mark.parametrize("text", ["", "5", "0-10", "999-2000", "300000-200000", "200000-99999999999", "a-b", "-1-5"])
def test_a_range_that_cannot_be_is_refused_with_the_form_of_a_good_one(text: str) -> None:
    with pytest.raises(SpanError, match="200000-265535"):
        identities.parse_span(text)
    assert len(identities.parse_span(identities.EXAMPLE)) == 32768
