"""What every ports.Builder promises, over the fake and the real one."""

import asyncio

import pytest

from node_agent import ports
from node_agent.errors import ReleaseFailedError
from node_agent.fakes.builder import FakeBuilder
from node_agent.model.spec import Runtime
from node_agent.model.status import ReleaseState
from tests.builder_fixtures import SERVICE, Bench
from tests.waiting import wait_until_async

OTHER = "svc_01J00000000000000000000002"


class Stage:
    """A builder and a repository with one commit, whatever lies behind them."""

    def __init__(self, place, kind):
        self.bench = Bench(place)
        self.commit = self.bench.repository.write({"index.html": "x"})
        self.kind = kind
        branches = {(self.bench.repository.remote, "main"): self.commit}
        self.builder: ports.Builder = FakeBuilder(branches) if kind == "fake" else self.bench.builder
        self.steps = []

    def release(self, number=1, **changes):
        return self.bench.release(number, **changes)

    async def build(self, release, service=SERVICE):
        return await self.builder.build(service, release, lambda state, commit: self.steps.append((state, commit)))

    def hanging(self):
        return "hang" if self.kind == "fake" else "sleep 600"

    def failing(self):
        return "fail now" if self.kind == "fake" else "exit 1"


@pytest.fixture(params=["fake", "real"])
def stage(request, tmp_path):
    return Stage(tmp_path, request.param)


async def test_a_build_tells_its_steps_and_is_sealed(stage):
    artifact = await stage.build(stage.release())
    assert (artifact.release, artifact.commit, artifact.static_root) == (1, stage.commit, ".")
    assert stage.steps == [
        (ReleaseState.FETCHING, ""),
        (ReleaseState.FETCHING, stage.commit),
        (ReleaseState.BUILDING, stage.commit),
    ]
    assert await stage.builder.sealed(SERVICE, 1) == artifact
    assert await stage.builder.sealed(SERVICE, 2) is None
    assert await stage.builder.sealed(OTHER, 1) is None


async def test_a_sealed_release_is_not_built_again(stage):
    first = await stage.build(stage.release())
    stage.steps.clear()
    assert await stage.build(stage.release(build_cmd=stage.failing())) == first
    assert stage.steps == []


async def test_equal_inputs_have_one_digest_and_others_another(stage):
    first = await stage.build(stage.release(1))
    second = await stage.build(stage.release(2, port=9))
    third = await stage.build(stage.release(3, env=(("A", "1"),)))
    assert first.digest == second.digest != third.digest


async def test_a_secret_is_no_input_of_a_build(stage):
    env = (("A", "1"), ("S", "hush"))
    first = await stage.build(stage.release(1, env=env, secret_keys=("S",)))
    second = await stage.build(stage.release(2, env=(("A", "1"), ("S", "other")), secret_keys=("S",)))
    third = await stage.build(stage.release(3, env=env))
    assert first.digest == second.digest != third.digest


async def test_the_build_of_another_release_is_used_again_without_a_command(stage):
    first = await stage.build(stage.release(1))
    again = stage.release(2, env=(("A", "1"),), build_cmd=stage.failing(), build_of=1, branch="gone")
    second = await stage.build(again)
    assert (second.release, second.commit, second.static_root) == (2, first.commit, first.static_root)


async def test_a_copy_of_a_build_serves_when_the_original_is_gone(stage):
    await stage.build(stage.release(1))
    second = await stage.build(stage.release(2, build_of=1))
    await stage.builder.prune(SERVICE, frozenset({2}))
    third = await stage.build(stage.release(3, build_cmd=stage.failing(), build_of=1, branch="gone"))
    assert (third.release, third.commit) == (3, second.commit)


async def test_a_build_that_is_gone_is_made_again_from_the_commit(stage):
    await stage.build(stage.release(1))
    await stage.builder.prune(SERVICE, frozenset())
    again = await stage.build(stage.release(2, build_of=1, commit=stage.commit))
    assert (again.release, again.commit) == (2, stage.commit)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"branch": "none"}, "branch_not_found"),
        ({"commit": "1234567"}, "commit_not_found"),
        ({"runtime": Runtime.PYTHON}, "no_run_cmd"),
    ],
)
async def test_a_failure_has_a_code_a_sentence_and_no_artifact(stage, changes, code):
    with pytest.raises(ReleaseFailedError, match="cannot ") as caught:
        await stage.build(stage.release(**changes))
    assert caught.value.code == code
    assert await stage.builder.sealed(SERVICE, 1) is None


async def test_a_failed_build_leaves_the_former_release(stage):
    first = await stage.build(stage.release(1))
    with pytest.raises(ReleaseFailedError) as caught:
        await stage.build(stage.release(2, build_cmd=stage.failing()))
    assert caught.value.code == "build_failed"
    assert await stage.builder.sealed(SERVICE, 1) == first


async def test_a_cancelled_build_is_no_release(stage):
    task = asyncio.create_task(stage.build(stage.release(build_cmd=stage.hanging())))
    await wait_until_async(lambda: (ReleaseState.BUILDING, stage.commit) in stage.steps)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await stage.builder.sealed(SERVICE, 1) is None


async def test_prune_deletes_all_but_what_is_kept(stage):
    for number in (1, 2, 3):
        await stage.build(stage.release(number))
    await stage.build(stage.release(1), OTHER)
    await stage.builder.prune(SERVICE, frozenset({2, 9}))
    left = [number for number in (1, 2, 3) if await stage.builder.sealed(SERVICE, number)]
    assert left == [2]
    assert await stage.builder.sealed(OTHER, 1)


async def test_remove_deletes_all_and_may_be_repeated(stage):
    await stage.build(stage.release())
    await stage.builder.remove(SERVICE)
    await stage.builder.remove(SERVICE)
    assert await stage.builder.sealed(SERVICE, 1) is None
