"""T13, T15 and submodules: what a repository may hold, within what bounds, and what is said of what is left out."""

import asyncio
import os
import pathlib
import stat

import pytest

from node_agent.builder import mirrors, submodules
from node_agent.builder.git import Git, Policy
from node_agent.builder.git_command import GitCommand, Quota
from node_agent.errors import ReleaseFailedError
from node_agent.model.source import Access
from tests.builder_fixtures import SERVICE, Bench, Repository
from tests.builder_fixtures import git as run_git

SMALL = Quota(bytes=1 << 20, entries=50, depth=8, path=200)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


@pytest.fixture
def small(tmp_path):
    """A builder that takes little."""
    made = Bench(tmp_path)
    tight(made, SMALL)
    return made


def tight(bench: Bench, quota: Quota) -> None:
    bench.git._command = GitCommand(bench.git._root, quota)


async def failure(bench, release) -> ReleaseFailedError:
    with pytest.raises(ReleaseFailedError, match=r"^cannot ") as caught:
        await bench.build(release)
    assert await bench.left_over() == []
    assert f"==> failed: {caught.value}"[:100] in bench.log(release.number)
    return caught.value


def packs(bench) -> int:
    """Bytes in the mirrors."""
    return sum(path.stat().st_size for path in bench.paths.cache.glob("git/*/objects/pack/*"))


# too much


async def test_a_pack_beyond_the_quota_is_ended_in_the_middle_and_leaves_no_byte(small):
    (small.repository.place / "big").write_bytes(os.urandom(3 << 20))
    small.repository.write({})
    error = await failure(small, small.release())
    assert (error.code, "more than 1 MiB" in str(error)) == ("source_too_large", True)
    assert packs(small) == 0


async def test_a_small_pack_of_large_files_is_refused_before_one_is_written(small):
    with (small.repository.place / "zeros").open("wb") as file:
        file.truncate(8 << 20)
    small.repository.write({})
    assert (await failure(small, small.release())).code == "source_too_large"
    assert packs(small) < 1 << 20


async def test_too_many_files_are_refused(small):
    small.repository.write({f"{number}": "" for number in range(60)})
    error = await failure(small, small.release())
    assert (error.code, "more than 50 files" in str(error)) == ("source_too_large", True)


async def test_a_path_too_deep_or_too_long_is_refused(small):
    small.repository.write({"a/" * 10 + "b": "x"})
    assert "nested deeper than 8" in str(await failure(small, small.release()))
    run_git(small.repository.place, "rm", "-rq", "a")
    small.repository.write({f"{'n' * 120}/{'m' * 120}": "x"})
    assert "path of more than 200 bytes" in str(await failure(small, small.release(2)))


def tree_of(place: pathlib.Path, *entries: str) -> str:
    raw = "".join(f"{entry}\0" for entry in entries)
    (place / "raw").write_text(raw)
    with (place / "raw").open("rb") as file:
        import subprocess

        return subprocess.run(
            ["git", "mktree", "-z"], cwd=place, stdin=file, check=True, capture_output=True, text=True
        ).stdout.strip()


@pytest.mark.parametrize("bottom", ["file", "nothing"])
async def test_a_few_trees_that_stand_for_a_billion_files_are_refused_at_once(bench, bottom):
    place = bench.repository.place
    bench.repository.write({"a": "x"})
    blob = run_git(place, "rev-parse", "HEAD:a")
    tree = tree_of(place, f"100644 blob {blob}\tf") if bottom == "file" else tree_of(place)
    for _ in range(10):
        tree = tree_of(place, *(f"040000 tree {tree}\t{number}" for number in range(10)))
    commit = run_git(place, "commit-tree", tree, "-m", "bomb")
    run_git(place, "update-ref", "refs/heads/main", commit)
    error = await failure(bench, bench.release())
    assert (error.code, "more than 200000" in str(error)) == ("source_too_large", True)


async def test_a_hundred_thousand_files_are_no_trouble_to_refuse(bench):
    tight(bench, Quota(entries=99_000))
    place = bench.repository.place
    bench.repository.write({"a": "x"})
    blob = run_git(place, "rev-parse", "HEAD:a")
    many = tree_of(place, *(f"100644 blob {blob}\t{number:05}" for number in range(10_000)))
    tree = tree_of(place, *(f"040000 tree {many}\t{number:02}" for number in range(10)))
    run_git(place, "update-ref", "refs/heads/main", run_git(place, "commit-tree", tree, "-m", "many"))
    assert (await failure(bench, bench.release())).code == "source_too_large"


# links and what is no file


async def test_links_out_fail_the_release_and_are_followed_by_nobody(bench, tmp_path):
    canary = tmp_path / "canary"
    canary.mkdir(mode=0o750)
    (canary / "index.html").write_text("secret")
    before = canary.stat()
    bench.repository.write({"index.html": "x", "out": canary, "up": pathlib.Path("../../../../etc/passwd")})
    error = await failure(bench, bench.release())
    assert error.code == "link_out_of_tree"
    assert stat.S_IMODE(canary.stat().st_mode) == stat.S_IMODE(before.st_mode)
    assert (canary / "index.html").read_text() == "secret"


@pytest.mark.parametrize("field", ["working_dir", "static_dir"])
async def test_a_directory_that_is_a_link_out_is_not_used(bench, tmp_path, field):
    canary = tmp_path / "canary"
    canary.mkdir()
    (canary / "index.html").write_text("secret")
    bench.repository.write({"index.html": "x", "app": canary})
    error = await failure(bench, bench.release(**{field: "app"}))
    assert error.code in {f"bad_{field}", "link_out_of_tree"}


@pytest.mark.parametrize("name", [".nvmrc", "package.json", "Procfile", "requirements.txt"])
async def test_a_file_that_decides_and_leads_out_is_not_read(bench, tmp_path, name):
    canary = tmp_path / "canary"
    canary.write_text("web: cat /etc/shadow\n")
    bench.repository.write({"index.html": "x", name: canary})
    assert (await failure(bench, bench.release())).code == "link_out_of_tree"
    assert "shadow" not in bench.log()


async def test_a_build_that_leaves_a_fifo_or_a_socket_is_no_release(bench):
    bench.repository.write({"index.html": "x"})
    assert (await failure(bench, bench.release(build_cmd="mkfifo pipe"))).code == "special_file"


async def test_a_build_that_gives_a_stranger_s_file_a_second_name_seals_no_change_of_it(bench, tmp_path):
    canary = tmp_path / "canary"
    canary.write_text("secret")
    canary.chmod(0o640)
    bench.repository.write({"index.html": "x"})
    try:
        await bench.build(bench.release(build_cmd=f"ln {canary} index2.html"))
    except ReleaseFailedError:
        pass
    assert canary.read_text() == "secret"
    assert not stat.S_IMODE(canary.stat().st_mode) & 0o002


# submodules


class Nested:
    """A repository with one that is a part of it."""

    def __init__(self, bench: Bench, place: pathlib.Path) -> None:
        self.inner, self.outer = Repository(place / "inner"), bench.repository
        self.commit = self.inner.write({"index.html": "inner"})
        self.outer.write({"index.html": "outer"})

    def point(self, url: str | None = None, path: str = "sub", more: str = "", commit: str = "") -> str:
        text = f'[submodule "x"]\n\tpath = {path}\n\turl = {self.inner.remote if url is None else url}\n{more}'
        (self.outer.place / ".gitmodules").write_text(text)
        run_git(self.outer.place, "add", ".gitmodules")
        run_git(self.outer.place, "update-index", "--add", "--cacheinfo", f"160000,{commit or self.commit},{path}")
        run_git(self.outer.place, "commit", "--quiet", "-m", "point")
        return run_git(self.outer.place, "rev-parse", "HEAD")


@pytest.fixture
def nested(bench, tmp_path):
    return Nested(bench, tmp_path)


async def test_submodules_are_left_out_and_that_is_said(bench, nested):
    nested.point()
    await bench.build(bench.release())
    assert list((bench.tree() / "sub").iterdir()) == []
    assert "warning: 1 submodules are left out; `submodules: true` fetches them" in bench.log()


async def test_submodules_come_when_asked_for_at_the_very_commit_that_is_recorded(bench, nested):
    nested.point()
    nested.inner.write({"index.html": "later"})
    await bench.build(bench.release(submodules=True))
    assert (bench.tree() / "sub" / "index.html").read_text() == "inner"
    assert f"==> submodule sub at {nested.commit[:12]}" in bench.log()


async def test_the_same_commit_without_its_submodules_is_another_build(bench, nested):
    nested.point()
    await bench.build(bench.release())
    await bench.build(bench.release(2, submodules=True))
    assert (bench.tree(2) / "sub" / "index.html").exists()


async def test_submodules_of_submodules_come_to_a_bounded_depth(bench, nested, tmp_path):
    below = nested.inner
    for level in range(submodules.MAX_DEPTH + 1):
        one = Repository(tmp_path / f"level{level}")
        one.write({"index.html": str(level)})
        (one.place / ".gitmodules").write_text(f'[submodule "x"]\n\tpath = sub\n\turl = {below.remote}\n')
        head = run_git(below.place, "rev-parse", "HEAD")
        run_git(one.place, "add", ".gitmodules")
        run_git(one.place, "update-index", "--add", "--cacheinfo", f"160000,{head},sub")
        run_git(one.place, "commit", "--quiet", "-m", "x")
        below = one
    error = await failure(bench, bench.release(remote=below.remote, submodules=True))
    assert (error.code, f"deeper than {submodules.MAX_DEPTH}" in str(error)) == ("bad_submodule", True)
    deep = Repository.__new__(Repository)
    deep.place = tmp_path / f"level{submodules.MAX_DEPTH - 1}"
    await bench.build(bench.release(2, remote=f"file://{deep.place}", submodules=True))
    assert (bench.tree(2) / ("sub/" * submodules.MAX_DEPTH)).is_dir()


async def test_a_repository_that_is_its_own_submodule_ends(bench, nested):
    first = run_git(nested.outer.place, "rev-parse", "HEAD")
    nested.point(nested.outer.remote, commit=first)
    await bench.build(bench.release(submodules=True))
    assert (bench.tree() / "sub" / "index.html").read_text() == "outer"


async def test_a_mirror_is_not_begun_anew_while_somebody_reads_it(bench):
    first = bench.repository.write({"a": "1"})
    async with bench.git.holding(bench.repository.remote, first) as mirror:
        waiting = asyncio.create_task(bench.git.fetch(bench.repository.remote, bench.repository.write({"a": "2"})))
        done, _ = await asyncio.wait([waiting], timeout=0.2)
        assert not done
        assert run_git(mirror, "show", f"{first}:a") == "1"
    assert await waiting == mirror


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ext::touch CANARY", "not a plain https"),
        ("--upload-pack=touch CANARY", ""),
        ("../other", "relative"),
        ("./other", "relative"),
        ("/etc", "relative"),
        ("http://git.example.test/a", "not a plain https"),
        ("https://user:secret@git.example.test/a", "credentials"),
        ("ssh://git@git.example.test/a", "ssh remotes are off"),
        ("git@git.example.test:a", "ssh remotes are off"),
        ("https://-oProxyCommand=x/a", "not a plain https"),
        ("file:///a/../etc", "not a plain file"),
        ("", ""),
    ],
)
async def test_a_submodule_from_where_nothing_may_come_fails_the_release(bench, nested, tmp_path, url, words):
    nested.point(url)
    error = await failure(bench, bench.release(submodules=True))
    assert error.code in {"bad_submodule", "bad_repository"}
    assert words in str(error)
    assert not list(tmp_path.rglob("CANARY"))


async def test_file_submodules_are_for_those_who_allow_file_remotes(bench, nested):
    nested.point()
    bench.git.policy = Policy(allow_file=True)
    mirror = await bench.git.fetch(bench.repository.remote, run_git(bench.repository.place, "rev-parse", "HEAD"))
    bench.git.policy = Policy()
    found = submodules.Submodules(bench.git, "https://git.example.test/a", bench.release().access, bench.git.quota)
    head = run_git(bench.repository.place, "rev-parse", "HEAD")
    tree = bench.paths.root / "t"
    tree.mkdir()
    listing = await bench.git.checkout(mirror, head, tree)
    with pytest.raises(ReleaseFailedError, match="file:// remotes are off"):
        await found.write(tree, listing, await bench.git.submodule_settings(mirror, head, listing))


async def test_the_credential_goes_to_its_own_machine_alone(bench):
    access = bench.release(git_token="t").access
    found = submodules.Submodules(bench.git, "https://git.example.test/a", access, bench.git.quota)
    assert found._access_for("https://git.example.test/b") == access
    for other in ("https://other.example.test/b", "https://git.example.test:8443/b", "ssh://git@git.example.test/b"):
        assert found._access_for(other).token == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[include]\n\tpath = /etc/passwd\n", "no url"),
        ('[submodule "x"]\n\tpath = sub\n\tupdate = !touch CANARY\n', "no url"),
        ("not a file of settings [\n", ""),
    ],
)
async def test_settings_that_include_or_command_do_nothing(bench, nested, tmp_path, text, words):
    nested.point()
    (nested.outer.place / ".gitmodules").write_text(text)
    run_git(nested.outer.place, "commit", "--quiet", "-m", "trap", ".gitmodules")
    error = await failure(bench, bench.release(submodules=True))
    assert error.code in {"bad_submodule", "bad_repository"}
    assert not list(tmp_path.rglob("CANARY"))
    assert words in str(error) or error.code == "bad_repository"


async def test_a_gitmodules_that_is_a_link_is_not_read(bench, nested):
    place = nested.outer.place
    blob = run_git(place, "rev-parse", "HEAD:index.html")
    tree = tree_of(place, f"120000 blob {blob}\t.gitmodules", f"160000 commit {nested.commit}\tsub")
    run_git(place, "update-ref", "refs/heads/main", run_git(place, "commit-tree", tree, "-m", "link"))
    assert (await failure(bench, bench.release(submodules=True))).code in {"bad_submodule", "bad_repository"}


async def test_all_parts_of_a_source_share_one_budget(small, tmp_path):
    nested = Nested(small, tmp_path)
    nested.commit = nested.inner.write({f"i{number}": "" for number in range(30)})
    nested.outer.write({f"o{number}": "" for number in range(30)})
    nested.point()
    assert (await failure(small, small.release(submodules=True))).code == "source_too_large"


# what is left out


async def test_pointers_to_large_files_are_named_in_the_log(bench):
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 12345\n"
    bench.repository.write(
        {"index.html": "x", "img/big.bin": pointer, "not.txt": "n" * 130, "link": pathlib.Path("not.txt")}
    )
    await bench.build(bench.release())
    assert "==> warning: 1 files are pointers of Git LFS, such as img/big.bin" in bench.log()


# the mirrors


async def test_mirrors_that_nobody_fetched_into_for_long_make_room(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(mirrors, "MAX_MIRRORS", 3)
    found = []
    for number in range(5):
        one = Repository(tmp_path / f"r{number}")
        mirror = await bench.git.fetch(one.remote, one.commit(a=str(number)))
        os.utime(mirrors.lock(mirror), (number, number))
        found.append(mirror)
    kept = [False, False, True, True, True]
    assert [mirror.exists() for mirror in found] == kept
    assert [mirrors.lock(mirror).exists() for mirror in found] == kept


async def test_a_mirror_in_use_makes_no_room_and_who_waits_for_one_that_went_gets_another(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(mirrors, "MAX_MIRRORS", 0)
    remote, commit = bench.repository.remote, bench.repository.commit(a="1")
    root = bench.git._root
    async with bench.git.holding(remote, commit) as mirror:
        mirrors.prune(root, tmp_path)
        assert (mirror / "HEAD").exists()
        waiting = asyncio.create_task(bench.git.fetch(remote, commit))
        await asyncio.sleep(0)
        held = os.open(mirrors.lock(mirror), os.O_RDONLY)  # as one who came too late for this file
    mirrors.prune(root, tmp_path)
    assert await waiting == mirror
    assert (mirror / "HEAD").exists()
    assert not os.path.samestat(os.fstat(held), mirrors.lock(mirror).stat())
    os.close(held)


def test_who_has_another_token_or_key_has_another_mirror():
    opened = [Access(token, key) for token in ("", "a", "b") for key in ("", "k", "l")]
    assert len({mirrors.name("ssh://git@git.example.test/a", access) for access in opened}) == 9


def test_a_file_that_another_fetch_is_about_to_rename_is_no_trouble(tmp_path):
    packs = tmp_path / "mirror" / "objects" / "pack"
    packs.mkdir(parents=True)
    (packs / "tmp_pack_1").symlink_to(packs / "gone")  # listed, and not there when it is looked at
    (tmp_path / "mirror.lock").touch()
    mirrors.prune(tmp_path, tmp_path / "other")
    assert packs.exists()


def test_what_a_killed_agent_left_of_keys_is_swept(bench):
    left = bench.git._root / "ssh-abc"
    left.mkdir(parents=True)
    (left / "key").write_text("secret")
    Git(bench.paths, Policy()).sweep()
    assert not left.exists()


async def test_an_app_in_a_directory_of_a_large_repository_is_built_there(bench):
    bench.repository.write({"apps/one/index.html": "one", "apps/two/index.html": "two", "index.html": "root"})
    for number, name in enumerate(("one", "two"), 1):
        artifact = await bench.build(bench.release(number, working_dir=f"apps/{name}"))
        assert artifact.static_root == f"apps/{name}"
        assert (bench.tree(number) / artifact.static_root / "index.html").read_text() == name
    for number, wrong in enumerate(("apps/none", "index.html"), 3):
        assert (await failure(bench, bench.release(number, working_dir=wrong))).code == "bad_working_dir"
    assert bench.paths.releases(SERVICE).is_dir()
