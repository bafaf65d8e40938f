"""Links that lead out of a repository or a build, while the kernel writes down every file that is opened (T13).

The canaries are root's alone, so whoever opens one is privileged: the agent, the supervisor, or what they run as root.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from tests.supervisor_host import passable

ROOT = pathlib.Path(__file__).parents[2]
TRACE = ("strace", "-f", "-qq", "--seccomp-bpf", "-y", "-e", "trace=open,openat,openat2,creat", "-e", "signal=none")
ENDED = {
    **dict.fromkeys(("a file", "a directory", "a manifest", "a list of packages", "attributes"), "link_out_of_tree"),
    **dict.fromkeys(("a page", "made by the build", "in the place of a directory"), "link_out_of_tree"),
    "a Procfile": "no_run_cmd",
    "working_dir": "bad_working_dir",
    "static_dir": "bad_static_dir",
    "a FIFO": "special_file",
    **dict.fromkeys(("a second name", "a device"), "sealed"),  # the build was refused both, and went on
}


def can_trace() -> bool:
    if os.geteuid() or shutil.which("strace") is None:
        return False
    return subprocess.run([*TRACE, "-o", os.devnull, "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not can_trace(), reason="needs root, and a strace that may trace")
def test_nobody_privileged_opens_what_a_link_leads_to(tmp_path: pathlib.Path) -> None:
    with passable() as place:
        canaries = (place / "canaries", place / "canaries/file", place / "canaries/directory")
        for directory in (canaries[0], canaries[2]):
            directory.mkdir(mode=0o700)
        canaries[1].write_text("web: cat /etc/shadow\n")
        (canaries[2] / "index.html").write_text("<p>of somebody else")
        before = [found.stat() for found in canaries]
        trace = tmp_path / "trace"
        child = [sys.executable, "-m", "tests.links_child", str(place)]
        done = subprocess.run([*TRACE, "-o", str(trace), *child], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == ENDED
        opened = [line for line in trace.read_text(errors="replace").splitlines() if "<" + str(canaries[0]) in line]
        assert len(opened) == 1, opened  # its own look, by which we know that the others would be here
        assert [(found.st_mode, found.st_uid, found.st_ctime_ns) for found in before] == [
            (now.st_mode, now.st_uid, now.st_ctime_ns) for now in (found.stat() for found in canaries)
        ]
