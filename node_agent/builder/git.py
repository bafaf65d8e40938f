"""The one git wrapper. It is given text from users and talks to strange servers, so: a grammar before git sees a word,
addresses that are checked before they are dialled, `--end-of-options`, and a look at what a commit holds before it is
written. git_command.py says how git itself is run.
"""

import base64
import contextlib
import dataclasses
import os
import pathlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator

from node_agent.builder import children, locks, mirrors, refusals, ssh
from node_agent.builder.egress import Egress
from node_agent.builder.git_command import LOCAL_S, GitCommand
from node_agent.builder.listing import Budget, Listing
from node_agent.builder.threads import in_thread
from node_agent.errors import ReleaseFailedError
from node_agent.model import source
from node_agent.model.source import NO_ACCESS, Access
from node_agent.paths import Paths

FETCH_S = 300.0
RESOLVE_S = 60.0
NO_MATCH = 2
EVERYTHING = 2**31 - 1  # the depth that stands for all there is


@dataclasses.dataclass(frozen=True, slots=True)
class Policy:
    """What this host's operator allows, beside https. `known_hosts`: keys of ssh servers that deployments need not pin."""

    allow_file: bool = False
    allow_ssh: bool = False
    known_hosts: pathlib.Path | None = None
    ssh: str = ssh.SSH


def _in_silence(_: str) -> None:
    pass


class Git:
    """Remote + branch → commit → bare mirror → files. Every failure is a ReleaseFailedError with its own code."""

    def __init__(
        self,
        paths: Paths,
        policy: Policy,
        egress: Egress | None = None,
        command: GitCommand | None = None,
        fetch_s: float = FETCH_S,
    ) -> None:
        self.policy = policy
        self.fetch_s = fetch_s
        self._root = paths.cache / "git"
        self._egress = egress or Egress()
        self._command = command or GitCommand(self._root)

    @property
    def quota(self) -> Budget:
        """A fresh one, for one source."""
        return Budget(self._command.quota)

    def sweep(self) -> None:
        """Once, before anything is fetched: what a killed agent left, keys among it."""
        for pattern in (f"{ssh.PREFIX}*", "index-*"):
            for left in self._root.glob(pattern):
                shutil.rmtree(left, ignore_errors=True)

    async def resolve(self, remote: str, branch: str, access: Access = NO_ACCESS) -> str:
        """The commit that the branch (or tag) points to now, 40 hexadecimal digits."""
        self._check(remote)
        if issue := source.branch_issue(branch):
            raise ReleaseFailedError("branch_not_found", f"cannot use the branch {branch[:200]!r}: {issue}")
        names = (f"refs/heads/{branch}", f"refs/tags/{branch}", f"refs/tags/{branch}^{{}}")
        arguments = ("ls-remote", "--exit-code", "--end-of-options", remote, *names)
        ended = await self._remote(remote, *arguments, access=access)
        commit = source.commit_of(ended.stdout, branch) if ended.code == 0 else None
        if ended.code not in {0, NO_MATCH}:
            raise refusals.of(remote, ended)
        if commit is None:
            raise ReleaseFailedError(
                "branch_not_found", f"cannot find the branch {branch!r} in {remote}: push it, or name another branch"
            )
        return commit

    async def fetch(
        self,
        remote: str,
        commit: str,
        branch: str = "",
        access: Access = NO_ACCESS,
        say: Callable[[str], None] = _in_silence,
    ) -> pathlib.Path:
        """The mirror, holding the commit, for as long as nobody makes room: see `holding`."""
        async with self.holding(remote, commit, branch, access, say) as mirror:
            return mirror

    @contextlib.asynccontextmanager
    async def holding(
        self,
        remote: str,
        commit: str,
        branch: str = "",
        access: Access = NO_ACCESS,
        say: Callable[[str], None] = _in_silence,
    ) -> AsyncIterator[pathlib.Path]:
        """The mirror with the commit in it, which nobody changes or deletes meanwhile. Never within one another.

        `branch` helps with servers that give out branches only; `say` is told then. Who has another token or key has
        another mirror: what one credential opened is not given to who lacks it.
        """
        self._check(remote)
        if not source.is_commit(commit):
            raise ReleaseFailedError(
                "commit_not_found", f"cannot use the commit {commit[:64]!r}: give the full id, 40 hexadecimal digits"
            )
        mirror = self._root / mirrors.name(remote, access)
        async with locks.locked(mirrors.lock(mirror)):
            if not mirrors.holds(mirror, commit):
                await self._fetch_into(mirror, remote, commit, branch, access, say)
            for used in (mirrors.lock(mirror), mirror):
                os.utime(used)  # used now: it is not the next one to go
            yield mirror

    async def checkout(
        self, mirror: pathlib.Path, commit: str, tree: pathlib.Path, budget: Budget | None = None
    ) -> Listing:
        """Write the commit's files into the empty directory `tree`, when they are within the budget.

        Links are written as they are: the seal judges.
        """
        listing = await self._listing(mirror, commit, budget or self.quota)
        with tempfile.TemporaryDirectory(dir=self._root, prefix="index-") as scratch:
            place = {"GIT_DIR": str(mirror), "GIT_WORK_TREE": str(tree), "GIT_INDEX_FILE": f"{scratch}/index"}
            ended = await self._local(("read-tree", "-m", "-u", commit), place, cwd=tree)
        if ended.code:
            raise await self._unusable(mirror, commit, f"cannot write its files: {ended.last_line}")
        return listing

    async def submodule_settings(self, mirror: pathlib.Path, commit: str, listing: Listing) -> str:
        """The settings in the commit's .gitmodules, as git itself reads them: `key LF value NUL`. Nothing is included."""
        if not listing.has_modules:
            return ""
        arguments = ("config", "--no-includes", f"--blob={commit}:.gitmodules", "-z", "--get-regexp", r"^submodule\.")
        ended = await self._local(arguments, {"GIT_DIR": str(mirror)})
        if ended.code > 1:  # 1: nothing is set
            raise ReleaseFailedError("bad_submodule", f"cannot read .gitmodules: {ended.last_line}")
        return ended.stdout

    async def _listing(self, mirror: pathlib.Path, commit: str, budget: Budget) -> Listing:
        listing = Listing(budget)
        arguments = ("ls-tree", "-r", "-t", "-l", "-z", "--full-tree", f"{commit}^{{commit}}")
        ended = await self._local(arguments, {"GIT_DIR": str(mirror)}, sink=listing.feed)
        if ended.code:
            raise await self._unusable(mirror, commit, f"cannot list its files: {ended.last_line}")
        return listing

    async def _unusable(self, mirror: pathlib.Path, commit: str, words: str) -> ReleaseFailedError:
        """Servers give out whatever has an id. What is a commit, and was fetched whole, was damaged since."""
        kind = (await self._local(("cat-file", "-t", commit), {"GIT_DIR": str(mirror)})).stdout.strip()
        if kind in {"blob", "tree"}:
            return ReleaseFailedError(
                "commit_not_found", f"cannot use {commit}: it is a {kind}; give the id of a commit"
            )
        mirrors.doubt(mirror)
        return ReleaseFailedError(
            "checkout_failed", f"cannot use commit {commit[:12]}: {words}; deploy again, it is fetched anew then"
        )

    async def _fetch_into(
        self,
        mirror: pathlib.Path,
        remote: str,
        commit: str,
        branch: str,
        access: Access,
        say: Callable[[str], None],
    ) -> None:
        """Called under the mirror's lock. The kept ref is written last, so a torn fetch is never believed."""
        await self._prepare(mirror)
        most, left = self._command.quota.bytes, 0
        try:
            ended = await self._fetch_object(mirror, remote, f"{commit}:{mirrors.kept_ref(commit)}", access)
            for ref in _refs_around(branch):
                if ended.code and refusals.names_an_object(ended):
                    say(f"{remote} does not give out commit {commit[:12]} by its id: looking for it in {ref}")
                    ended = await self._fetch_object(mirror, remote, ref, access, deep=True)
        finally:
            left = await in_thread(mirrors.tidy, mirror)
        keep = ("update-ref", mirrors.kept_ref(commit), f"{commit}^{{commit}}")
        if ended.code:
            mirrors.forget(mirror, commit)
            if left >= most:  # the kernel ended it there; git does not say so
                raise refusals.too_large(remote, most)
        elif mirrors.holds(mirror, commit) or (await self._local(keep, {"GIT_DIR": str(mirror)})).code == 0:
            return
        if ended.code and not refusals.names_an_object(ended):
            raise refusals.of(remote, ended)
        raise ReleaseFailedError(
            "commit_not_found", f"cannot get the commit {commit} from {remote}: push it, or name another commit"
        )

    async def _prepare(self, mirror: pathlib.Path) -> None:
        """A bare repository. One with many snapshots is begun anew: cheaper than git's own housekeeping; so is a damaged one."""
        await in_thread(mirrors.begin, mirror)  # nothing deletes on behind the lock of whoever comes next
        if mirrors.is_made(mirror):
            return
        ended = await self._local(("init", "--quiet", "--bare", "--template="), {"GIT_DIR": str(mirror)})
        if ended.code:
            raise ReleaseFailedError("fetch_failed", f"cannot prepare the mirror {mirror}: {ended.last_line}")
        await in_thread(mirrors.made, mirror)

    async def _fetch_object(
        self, mirror: pathlib.Path, remote: str, wanted: str, access: Access = NO_ACCESS, *, deep: bool = False
    ) -> children.Ended:
        """Shallow, unless a commit behind the head of a branch is wanted.

        Always of some depth: a server without git, whose files would be taken one by one beyond any limit, has none.
        """
        depth = f"--depth={EVERYTHING if deep else 1}"
        flags = ("--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--end-of-options")
        return await self._remote(remote, "fetch", depth, *flags, remote, wanted, mirror=mirror, access=access)

    async def _remote(
        self, remote: str, *arguments: str, access: Access = NO_ACCESS, mirror: pathlib.Path | None = None
    ) -> children.Ended:
        """A command that talks to the remote, the only kind that is given a credential, and a transport."""
        deadline = self.fetch_s if mirror else min(RESOLVE_S, self.fetch_s)
        target, shown = source.endpoint(remote), credential(remote, access.token)
        addresses = () if target.scheme == "file" else await self._egress.checked(target.host, target.port)
        place = {"GIT_DIR": str(mirror)} if mirror else {}
        try:
            with self._way(target, addresses, access) as (options, variables):
                return await self._command.run(
                    arguments, place | variables | shown, deadline, protocol=target.scheme, options=options
                )
        except children.ChildTimeoutError as error:
            raise ReleaseFailedError(
                "fetch_timeout", f"cannot read {remote}: no end after {deadline:g} s; see whether the server is well"
            ) from error

    @contextlib.contextmanager
    def _way(
        self, target: source.Endpoint, addresses: tuple[str, ...], access: Access
    ) -> Iterator[tuple[tuple[str, ...], dict[str, str]]]:
        """Options and variables that lead to the addresses that were checked; by ssh with the key."""
        if target.scheme == "ssh":
            self._command.home()
            with ssh.prepared(
                self._root, target, addresses[0], access, self.policy.known_hosts, self.policy.ssh
            ) as variables:
                yield (), variables
        elif target.scheme == "https":
            literal = ",".join(f"[{address}]" if ":" in address else address for address in addresses)
            yield (f"http.curloptResolve={target.host}:{target.port}:{literal}",), {}
        else:
            yield (), {}

    async def _local(
        self,
        arguments: tuple[str, ...],
        place: dict[str, str],
        cwd: pathlib.Path | None = None,
        sink: Callable[[bytes], None] | None = None,
    ) -> children.Ended:
        try:
            return await self._command.run(arguments, place, LOCAL_S, cwd=cwd, sink=sink)
        except children.ChildTimeoutError as error:
            raise ReleaseFailedError(
                "checkout_failed", f"cannot write the source: git {arguments[0]} did not end within {LOCAL_S:g} s"
            ) from error

    def _check(self, remote: str) -> None:
        policy = self.policy
        if issue := source.remote_issue(remote, allow_file=policy.allow_file, allow_ssh=policy.allow_ssh):
            raise ReleaseFailedError("remote_refused", f"cannot use the remote {remote[:200]!r}: {issue}")


def _refs_around(branch: str) -> tuple[str, ...]:
    """Where a commit may be found that the server does not give out by its id."""
    usable = branch and not source.branch_issue(branch)
    return (f"refs/heads/{branch}", f"refs/tags/{branch}") if usable else ("HEAD",)


def credential(remote: str, token: str) -> dict[str, str]:
    """Variables by which one git process shows `token` to exactly this remote. Never in argv, never in an address."""
    if not token:
        return {}
    if not source.TOKEN.fullmatch(token):
        raise ReleaseFailedError(
            "bad_git_token",
            "cannot use git_token: it must be printable ASCII without spaces, such as ghp_… or user:password",
        )
    if not remote.startswith("https://"):
        return {}
    pair = token if ":" in token else f"x-access-token:{token}"
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"http.{remote}.extraHeader",
        "GIT_CONFIG_VALUE_0": f"Authorization: Basic {base64.b64encode(pair.encode()).decode()}",
    }
