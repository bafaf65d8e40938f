"""What may be asked of git: the grammar of remotes, branches and commits. The wrapper refuses everything else."""

import re

HTTPS = re.compile(r"https://([A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)(:[0-9]{1,5})?(/[A-Za-z0-9._~%+@-]+)+/?")
FILE = re.compile(r"file://(/[A-Za-z0-9._~%+@-]+)+/?")
REF = re.compile(r"(?!-)(?!.*\.\.)[A-Za-z0-9._/-]{1,200}")
COMMIT = re.compile(r"[0-9a-f]{40}")
TOKEN = re.compile(r"[!-~]{1,1024}")
MAX_REMOTE = 2048


def remote_issue(remote: str, *, allow_file: bool) -> str:
    """Why `remote` must not be given to git; "" when it may."""
    if len(remote) > MAX_REMOTE:
        return f"it is longer than {MAX_REMOTE} characters"
    if remote.startswith("file://"):
        if not allow_file:
            return "file:// remotes are off on this host; use https://, or start with --allow-file-remotes"
        return "" if FILE.fullmatch(remote) and "/../" not in f"{remote}/" else "it is not a plain file:// address"
    if "@" in remote.partition("://")[2].partition("/")[0]:
        return "it holds credentials; leave them out of the address"
    return "" if HTTPS.fullmatch(remote) else "it is not a plain https:// address of a git repository"


def branch_issue(branch: str) -> str:
    """Why `branch` must not be given to git; "" when it may. Stricter than git check-ref-format."""
    parts = branch.split("/")
    bad = any(not part or part.startswith(".") or part.endswith((".", ".lock")) for part in parts)
    return "it is not the name of a branch" if bad or not REF.fullmatch(branch) else ""


def is_commit(commit: str) -> bool:
    """True for a full commit id in lower case."""
    return COMMIT.fullmatch(commit) is not None


def commit_of(listing: str, branch: str) -> str | None:
    """The commit of `branch`, else of the tag of that name, in the output of ls-remote; git matches more than we ask."""
    refs: dict[str, str] = {}
    for line in listing.splitlines():
        commit, _, name = line.partition("\t")
        if is_commit(commit):
            refs[name] = commit
    wanted = (f"refs/heads/{branch}", f"refs/tags/{branch}^{{}}", f"refs/tags/{branch}")
    return next((refs[name] for name in wanted if name in refs), None)
