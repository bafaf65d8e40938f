"""The limits of control groups v2, on a machine that has them: the same tests as here, on a kernel of their own.

Once at the root of all groups, and once in a leaf of a group that is ours, as systemd delegates one to the supervisor.
"""

import os
import re

import pytest

from tests import virtual_machine

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not os.environ.get("TEST_ALL"), reason="boots a machine, by emulation: under make test-all"),
    pytest.mark.skipif(bool(virtual_machine.missing()), reason=virtual_machine.missing()),
]
FILES = ("test_cages.py", "test_limits.py", "test_supervisor_trees.py", "test_bad_starts.py")
TESTS = " ".join(f"tests/integration/{name}" for name in FILES)
SCRIPT = f"""
export PATH=/usr/sbin:/usr/bin:/sbin:/bin PYTHONPATH=/opt/packages HOME=/root
cd /opt/dployr
echo 1 >/proc/sys/kernel/printk  # what the kernel says of memory that ran out comes between the lines
place=/sys/fs/cgroup
if [ @WHERE@ = delegated ]; then
    mkdir -p $place/delegated/supervisor
    echo "+memory +cpu +pids" >$place/cgroup.subtree_control
    place=$place/delegated/supervisor
fi
echo $$ >$place/cgroup.procs
python3 -m pytest -v --color=no -o timeout=300 {TESTS}
echo "the tests ended with $?"
exit 0
"""


@pytest.fixture(scope="session")
def image(tmp_path_factory):
    return virtual_machine.make_image(tmp_path_factory.mktemp("machine"))


@pytest.mark.parametrize("where", ["root", "delegated"])
def test_every_limit_and_every_end_of_a_tree_holds_on_control_groups_v2(image, where):
    said = virtual_machine.run(image, SCRIPT.replace("@WHERE@", where), 900)
    assert "the tests ended with 0\n" in said, said[-20000:]
    skipped = set(re.findall(r"(\S+) SKIPPED", said))
    assert {name for name in skipped if "[v1]" not in name} == set(), "v2 lacks what these need"
    passed = re.findall(r"::(\S+) PASSED", said)
    assert "test_a_memory_hog_dies_alone_and_its_end_says_why" in passed
    print(f"{where}: {len(passed)} passed, {len(skipped)} skipped")
