"""Whoever cancels a build does not wait for a huge tree: work in threads is broken off, deletion is left to the trash."""

import asyncio
import itertools
import os
import threading

import pytest

from node_agent.builder import inventory, relocate, threads, trees
from node_agent.builder.trash import Trash
from node_agent.paths import Paths
from tests.waiting import wait_until_async

numbers = itertools.count()


@pytest.fixture
def tree(tmp_path):
    made = tmp_path / "tree"
    (made / "directory").mkdir(parents=True)
    (made / "directory" / "file").write_text("text")
    (made / "link").symlink_to("directory")
    return made


def copied(tree, entries):
    target = tree.with_name(f"copy-{next(numbers)}")
    target.mkdir()
    inventory.copy(entries, tree, target)


WORK = {
    "take": lambda tree, _: inventory.take(tree),
    "copy": copied,
    "escaping": lambda tree, entries: inventory.escaping(tree, entries, lambda _: False),
    "relocate": lambda tree, entries: relocate.relocate(tree, entries, tree, tree),
}


@pytest.mark.parametrize("name", WORK)
async def test_cancelling_breaks_off_what_would_never_end(tree, name):
    begun, entries = threading.Event(), inventory.take(tree)

    def endless():
        while True:
            WORK[name](tree, entries)
            begun.set()

    task = asyncio.create_task(threads.in_thread(endless))
    await wait_until_async(begun.is_set)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_work_that_nobody_cancels_is_whole(tree):
    assert await threads.in_thread(inventory.take, tree) == inventory.take(tree)
    with pytest.raises(FileNotFoundError):
        await threads.in_thread(inventory.take, tree / "nowhere")


async def test_what_is_thrown_away_frees_its_name_and_is_deleted_by_the_trash(tmp_path, tree):
    paths = Paths(tmp_path / "root")
    trash = Trash(paths)
    former = paths.trash / "of-a-former-agent"
    former.mkdir(parents=True)
    running = asyncio.create_task(trash.run())
    await wait_until_async(lambda: not former.exists())
    os.chmod(tree / "directory", 0o000)
    os.chmod(tree, 0o500)
    trees.discard(paths, tree)
    trees.discard(paths, tree)
    assert not tree.exists()
    assert len(trees.children(paths.trash)) == 1
    trash.wake()
    await wait_until_async(lambda: not trees.children(paths.trash))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
