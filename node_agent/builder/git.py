"""The one git wrapper. It is given text from users and talks to strange servers, so: a grammar before git sees a word,
an environment and options from scratch, `--end-of-options`, a deadline, and its whole process group killed with it.
"""

import asyncio
import base64
import hashlib
import pathlib
import shutil
import tempfile

from node_agent.builder import children, locks
from node_agent.errors import ReleaseFailedError
from node_agent.model import source
from node_agent.paths import Paths

PATH = "/usr/bin:/bin"
OPTIONS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "credential.helper=",
    "http.followRedirects=false",
    "protocol.version=2",
    "transfer.fsckObjects=true",
    "submodule.recurse=false",
    "gc.auto=0",  # git would leave a process of its own in the background
    "maintenance.auto=false",
)
MAX_SNAPSHOTS = 50
FETCH_S = 300.0
RESOLVE_S = 60.0
LOCAL_S = 120.0
NO_MATCH = 2
ABSENT = (
    "not found",
    "does not appear to be a git repository",
    "could not read Username",
    "Authentication failed",
    "does not exist",
)


class Git:
    """Remote + branch → commit → bare mirror → files. Every failure is a ReleaseFailedError with its own code."""

    def __init__(self, paths: Paths, *, allow_file: bool, fetch_s: float = FETCH_S) -> None:
        self._root = paths.cache / "git"
        self._allow_file = allow_file
        self._fetch_s = fetch_s

    async def resolve(self, remote: str, branch: str, token: str = "") -> str:
        """The commit that the branch (or tag) points to now, 40 hexadecimal digits. `token` is a credential for it."""
        self._check(remote)
        if issue := source.branch_issue(branch):
            raise ReleaseFailedError("branch_not_found", f"cannot use the branch {branch[:200]!r}: {issue}")
        names = (f"refs/heads/{branch}", f"refs/tags/{branch}", f"refs/tags/{branch}^{{}}")
        arguments = ("ls-remote", "--exit-code", "--end-of-options", remote, *names)
        ended = await self._remote(remote, *arguments, token=token)
        commit = source.commit_of(ended.stdout, branch) if ended.code == 0 else None
        if ended.code not in {0, NO_MATCH}:
            raise _refused(remote, ended)
        if commit is None:
            raise ReleaseFailedError(
                "branch_not_found", f"cannot find the branch {branch!r} in {remote}: push it, or name another branch"
            )
        return commit

    async def fetch(self, remote: str, commit: str, branch: str = "", token: str = "") -> pathlib.Path:
        """The mirror, holding the commit. `branch` helps with servers that give out branches only.

        Who has another token has another mirror: what one credential opened is not given to who lacks it.
        """
        self._check(remote)
        if not source.is_commit(commit):
            raise ReleaseFailedError(
                "commit_not_found", f"cannot use the commit {commit[:64]!r}: give the full id, 40 hexadecimal digits"
            )
        mirror = self._root / _mirror_name(remote, token)
        async with locks.locked(mirror.with_suffix(".lock")):
            if not await self._holds(mirror, commit):
                await self._fetch_into(mirror, remote, commit, branch, token)
        return mirror

    async def checkout(self, mirror: pathlib.Path, commit: str, tree: pathlib.Path) -> None:
        """Write the commit's files into the empty directory `tree`. Links are written as they are: the seal judges."""
        with tempfile.TemporaryDirectory(dir=self._root, prefix="index-") as scratch:
            place = {"GIT_DIR": str(mirror), "GIT_WORK_TREE": str(tree), "GIT_INDEX_FILE": f"{scratch}/index"}
            for arguments in (("read-tree", commit), ("checkout-index", "-a", "-f")):
                ended = await self._git(arguments, LOCAL_S, place, cwd=tree)
                if ended.code:
                    raise ReleaseFailedError(
                        "checkout_failed", f"cannot write the files of commit {commit[:12]}: {ended.last_line}"
                    )

    async def _fetch_into(self, mirror: pathlib.Path, remote: str, commit: str, branch: str, token: str) -> None:
        """Called under the mirror's lock. The kept ref is written last, so a torn fetch is never believed."""
        await self._prepare(mirror)
        ended = await self._fetch_object(mirror, remote, commit, token)
        if ended.code and branch and not source.branch_issue(branch):
            ended = await self._fetch_object(mirror, remote, f"refs/heads/{branch}", token, deep=True)
        keep = ("update-ref", f"refs/dployr/{commit}", f"{commit}^{{commit}}")
        if (await self._git(keep, LOCAL_S, {"GIT_DIR": str(mirror)})).code == 0:
            return
        if ended.code and not _names_an_object(ended):
            raise _refused(remote, ended)
        raise ReleaseFailedError(
            "commit_not_found", f"cannot get the commit {commit} from {remote}: push it, or name another commit"
        )

    async def _prepare(self, mirror: pathlib.Path) -> None:
        """A bare repository. One with many snapshots is begun anew: cheaper than git's own housekeeping."""
        await asyncio.to_thread(_tidy, mirror)
        ended = await self._git(("init", "--quiet", "--bare", "--template=", str(mirror)), LOCAL_S, {})
        if ended.code:
            raise ReleaseFailedError("fetch_failed", f"cannot prepare the mirror {mirror}: {ended.last_line}")

    async def _fetch_object(
        self, mirror: pathlib.Path, remote: str, wanted: str, token: str = "", *, deep: bool = False
    ) -> children.Ended:
        """Shallow, unless a commit behind the head of a branch is wanted."""
        shallow = (mirror / "shallow").exists()
        depth = ("--unshallow",) if deep and shallow else () if deep else ("--depth=1",)
        flags = ("--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--end-of-options")
        return await self._remote(remote, "fetch", *depth, *flags, remote, wanted, mirror=mirror, token=token)

    async def _holds(self, mirror: pathlib.Path, commit: str) -> bool:
        if not (mirror / "HEAD").exists():
            return False
        arguments = ("rev-parse", "--verify", "--quiet", f"refs/dployr/{commit}")
        return (await self._git(arguments, LOCAL_S, {"GIT_DIR": str(mirror)})).code == 0

    async def _remote(
        self, remote: str, *arguments: str, token: str = "", mirror: pathlib.Path | None = None
    ) -> children.Ended:
        """A command that talks to the remote, the only kind that is given the credential."""
        deadline = self._fetch_s if mirror else min(RESOLVE_S, self._fetch_s)
        place = {"GIT_DIR": str(mirror)} if mirror else {}
        try:
            return await self._git(arguments, deadline, place | credential(remote, token))
        except children.ChildTimeoutError as error:
            raise ReleaseFailedError(
                "fetch_timeout", f"cannot read {remote}: no end after {deadline:g} s; see whether the server is well"
            ) from error

    async def _git(
        self, arguments: tuple[str, ...], deadline_s: float, place: dict[str, str], cwd: pathlib.Path | None = None
    ) -> children.Ended:
        options = [word for option in OPTIONS for word in ("-c", option)]
        env = {
            "PATH": PATH,
            "HOME": str(self._home()),
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_ALLOW_PROTOCOL": "https:file" if self._allow_file else "https",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "/bin/false",
            "SSH_ASKPASS": "/bin/false",
            "GIT_CEILING_DIRECTORIES": str(self._root),  # no repository around our directory is ever looked at
            **place,
        }
        program = shutil.which("git", path=PATH)
        if program is None:
            raise ReleaseFailedError("git_missing", f"cannot run git: it is not in {PATH}; install the package git")
        return await children.run((program, *options, *arguments), env, deadline_s, cwd or self._home())

    def _home(self) -> pathlib.Path:
        """An empty directory: HOME, and where git runs when there is nothing to run in."""
        home = self._root / "home"
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        return home

    def _check(self, remote: str) -> None:
        if issue := source.remote_issue(remote, allow_file=self._allow_file):
            raise ReleaseFailedError("remote_refused", f"cannot use the remote {remote[:200]!r}: {issue}")


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


def _mirror_name(remote: str, token: str) -> str:
    who = hashlib.sha256(token.encode()).hexdigest() if token else ""
    return hashlib.sha256(f"{remote}\n{who}".encode() if who else remote.encode()).hexdigest()


def _tidy(mirror: pathlib.Path) -> None:
    """Remove what a killed git left (we hold the only lock that counts), and a mirror that has grown too far."""
    if len(list((mirror / "refs" / "dployr").glob("*"))) >= MAX_SNAPSHOTS:
        shutil.rmtree(mirror)
    for pattern in ("*.lock", "refs/dployr/*.lock", "objects/pack/tmp_*"):
        for left in mirror.glob(pattern):
            left.unlink()


def _names_an_object(ended: children.Ended) -> bool:
    """Did the server answer, but not have (or not give out) what was asked for?"""
    return any(word in ended.stderr for word in ("not our ref", "unadvertised object", "couldn't find remote ref"))


def _refused(remote: str, ended: children.Ended) -> ReleaseFailedError:
    """git has one exit code for everything, so its words (LC_ALL=C) choose the code; they are always in the message."""
    if any(word in ended.stderr for word in ABSENT):
        return ReleaseFailedError(
            "repository_not_found",
            f"cannot find the repository {remote}: check the address, and that it is public or git_token opens it",
        )
    if "not allowed" in ended.stderr:
        return ReleaseFailedError("remote_refused", f"cannot use the remote {remote}: {ended.last_line}")
    return ReleaseFailedError("fetch_failed", f"cannot read {remote}: {ended.last_line}")
