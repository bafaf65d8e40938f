"""The frames between agent and supervisor: values come back as they were, and garbage is only an error."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node_agent import supervisor
from node_agent.model.crash import Crash, Kind
from node_agent.model.process import (
    JobKind,
    JobResult,
    JobSpec,
    Limits,
    ProcessId,
    ProcessSpec,
    ProcessStatus,
    SupervisorInfo,
    Usage,
)
from node_agent.supervisor import frames, job_protocol, protocol
from tests.supervisor_host import REPOSITORY, a_process

FEW = settings(max_examples=30)
TEXT = st.text(max_size=8)
NUMBER = st.integers(0, 2**31)
TIME = st.floats(0, 1e12)
PAIRS = st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple)
SERVICE_IDS = st.from_regex(r"svc_[0-9A-HJKMNP-TV-Z]{26}", fullmatch=True)
RUN_IDS = st.from_regex(r"run_[0-9A-HJKMNP-TV-Z]{26}", fullmatch=True)
IDS = st.builds(ProcessId, SERVICE_IDS, NUMBER, NUMBER, st.from_regex(r"web\.[0-9]{1,3}", fullmatch=True))
LINES = st.lists(TEXT, max_size=3).map(tuple)
LIMITS = st.builds(
    Limits,
    st.just(0) | st.integers(4 << 20, 1 << 50),
    st.just(0.0) | st.floats(0.01, 1024),
    st.just(0) | st.integers(2, 2**31),
    st.booleans(),
)
CRASHES = st.builds(Crash, st.sampled_from(Kind), NUMBER, TEXT, TIME, TIME, TIME, NUMBER, LINES)
VOLUMES = st.lists(st.from_regex(r"[a-z][a-z0-9-]{0,31}", fullmatch=True), max_size=3, unique=True).map(tuple)


def jobs(kind=JobKind.BUILD, **own):
    """`own` is what that kind has besides what all have."""
    every = st.builds(JobSpec, SERVICE_IDS, NUMBER, TEXT, PAIRS, TEXT, TEXT, TIME, st.just(kind), **own)
    return every, job_protocol.encode_job_spec, job_protocol.decode_job_spec


IN_RELEASE = {"commit": TEXT, "volumes": VOLUMES}
OF_VOLUME = {"volumes": VOLUMES, "run_id": RUN_IDS, "volume": st.from_regex(r"[a-z][a-z0-9-]{0,31}", fullmatch=True)}
CODECS = [
    (
        st.builds(ProcessSpec, IDS, TEXT, PAIRS, TEXT, TEXT, st.integers(0, 65535), TEXT, LIMITS, volumes=VOLUMES),
        protocol.encode_process_spec,
        protocol.decode_process_spec,
    ),
    (
        st.builds(ProcessStatus, IDS, TEXT, NUMBER, NUMBER, TIME, NUMBER, TEXT, st.none() | CRASHES),
        protocol.encode_process_status,
        protocol.decode_process_status,
    ),
    jobs(),
    jobs(JobKind.RELEASE, **IN_RELEASE),
    jobs(JobKind.RUN, **IN_RELEASE, run_id=RUN_IDS),
    jobs(JobKind.CHECK, **IN_RELEASE, port=st.integers(0, 65535)),
    jobs(
        JobKind.CRON,
        **IN_RELEASE,
        entry=st.from_regex(r"[a-z][a-z0-9-]{0,28}", fullmatch=True),
        minute=NUMBER,
        limits=LIMITS,
    ),
    jobs(JobKind.BACKUP, **OF_VOLUME),
    jobs(JobKind.RESTORE, **OF_VOLUME),
    jobs(JobKind.SEAL, static=st.booleans()),
    jobs(JobKind.REMOVE, volume=st.just("") | OF_VOLUME["volume"]),
    (st.builds(JobResult, TEXT, NUMBER, TIME, LINES), job_protocol.encode_job_result, job_protocol.decode_job_result),
    (st.builds(SupervisorInfo, TEXT, TEXT, NUMBER, PAIRS), protocol.encode_info, protocol.decode_info),
    (
        st.tuples(IDS, st.builds(Usage, NUMBER, TIME, NUMBER, NUMBER)),
        lambda found: protocol.encode_usage(*found),
        protocol.decode_usage,
    ),
]
NULLABLE = {"crash"}  # a process that never crashed has none
VALUES = st.one_of([strategy.map(lambda v, c=(e, d): (v, *c)) for strategy, e, d in CODECS])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda x: st.lists(x, max_size=2) | st.dictionaries(TEXT, x, max_size=2),
    max_leaves=3,
)


@FEW
@given(VALUES)
def test_every_value_comes_back_as_it_was(case):
    value, encode, decode = case
    (frame,) = frames.FrameBuffer().feed(frames.encode_frame(encode(value)))
    assert decode(frame) == value


@FEW
@given(VALUES, st.data())
def test_a_value_with_a_field_missing_or_wrong_is_an_error_that_names_it(case, data):
    value, encode, decode = case
    frame = encode(value)
    name = data.draw(st.sampled_from(sorted(frame)))
    allowed = {type(frame[name]), int, list} | ({type(None)} if name in NULLABLE else set())
    frame[name] = data.draw(JSON.filter(lambda wrong: type(wrong) not in allowed))
    with pytest.raises(frames.ProtocolError, match=name):
        decode(frame)


@FEW
@given(st.lists(st.dictionaries(TEXT, JSON, max_size=2), max_size=3), st.lists(st.integers(1, 50), min_size=1))
def test_frames_are_found_however_the_bytes_arrive(sent, pieces):
    data = b"".join(map(frames.encode_frame, sent))
    buffer, found, at = frames.FrameBuffer(), [], 0
    while at < len(data):
        step = pieces[at % len(pieces)]
        found += buffer.feed(data[at : at + step])
        at += step
    assert found == sent


@given(st.binary(max_size=200))
def test_garbage_is_frames_an_error_or_an_unfinished_frame(data):
    try:
        assert all(isinstance(frame, dict) for frame in frames.FrameBuffer().feed(data))
    except frames.ProtocolError:
        pass


def test_frames_beyond_the_limit_are_neither_sent_nor_read():
    with pytest.raises(frames.ProtocolError, match="are allowed"):
        frames.encode_frame({"x": "y" * frames.FRAME_LIMIT})
    with pytest.raises(frames.ProtocolError, match="are allowed"):
        frames.FrameBuffer().feed((frames.FRAME_LIMIT + 1).to_bytes(4, "big"))


def test_ten_thousand_levels_of_nesting_are_an_error_and_no_crash():
    body = b"[" * 10_000 + b"]" * 10_000
    with pytest.raises(frames.ProtocolError, match="JSON"):
        frames.FrameBuffer().feed(len(body).to_bytes(4, "big") + body)


@pytest.mark.parametrize(
    "text",
    ["", "x", "svc_1.r1.n0.web.1", "svc_" + "0" * 26 + ".r1.n0.../web", "svc_" + "0" * 26 + ".r1.n0.build"],
)
def test_an_id_that_could_become_another_file_is_refused(text):
    with pytest.raises(frames.ProtocolError, match="process_id"):
        frames.process_id({"process_id": text})


def test_the_version_is_that_of_the_distribution():
    text = json.dumps(supervisor.VERSION)
    assert f"version = {text}" in (REPOSITORY / "pyproject.toml").read_text()


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        ({"memory_bytes": 4096}, "limits.memory_bytes"),
        ({"cpu": 0.001}, "limits.cpu"),
        ({"cpu": -1.0}, "limits.cpu"),
        ({"pids": 1}, "limits.pids"),
        ({"memory_bytes": -5}, "memory_bytes"),
        ({"pids": 10**12}, "pids"),
    ],
)
def test_a_limit_that_nothing_can_run_with_is_refused_by_its_name(limits, named):
    frame = protocol.encode_process_spec(a_process())
    frame["limits"].update(limits)
    with pytest.raises(frames.ProtocolError, match=named):
        protocol.decode_process_spec(frame)
