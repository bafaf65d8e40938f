"""A whole machine of its own, by emulation: its kernel has control groups v2 with all their limits, which this one may lack.

Made from packages once for a run; a script in it says on the serial line what came of it, and turns it off.
"""

import importlib.metadata
import os
import pathlib
import shutil
import subprocess

REPOSITORY = pathlib.Path(__file__).parents[1]
EMULATOR, BOOTSTRAP = "qemu-system-x86_64", "debootstrap"
PACKAGES = "systemd,systemd-sysv,python3"
TOOLS = ("pytest", "pluggy", "iniconfig", "packaging", "pytest-asyncio", "pytest-timeout", "hypothesis")
TOOLS_BELOW = ("pygments", "sortedcontainers", "typing-extensions")
SCRIPT_BYTES = 1 << 16
SCRIPT = """#!/bin/sh
exec >/dev/ttyS0 2>&1
cat /dev/vdb >/run/script
. /run/script
"""


def missing() -> str:
    """Why there can be no such machine here; empty when there can."""
    if os.geteuid() != 0:
        return "only root can make the image of a machine"
    lacking = [name for name in (EMULATOR, BOOTSTRAP, "mkfs.ext4") if not _program(name)]
    if lacking or not _boot("vmlinuz"):
        return (
            f"no {', '.join(lacking) or 'kernel for it'}: "
            "apt-get install --no-install-recommends qemu-system-x86 linux-image-cloud-amd64 debootstrap"
        )
    return ""


def make_image(directory: pathlib.Path) -> pathlib.Path:
    """A disk with Debian, this checkout and pytest. Raises CalledProcessError, with the words of who failed."""
    root, image = directory / "root", directory / "image"
    command = [_program(BOOTSTRAP), "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(root)]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    for name in ("node_agent", "tests"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / name, root / "opt" / "dployr" / name, ignore=ignored)
    shutil.copy(REPOSITORY / "pyproject.toml", root / "opt" / "dployr")
    for name in (*TOOLS, *TOOLS_BELOW):
        _copy_distribution(name, root / "opt" / "packages")
    script = root / "t.sh"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    with image.open("wb") as file:
        file.truncate(1500 << 20)
    subprocess.run([_program("mkfs.ext4"), "-q", "-F", "-d", str(root), str(image)], check=True, timeout=300)
    shutil.rmtree(root)
    return image


def run(image: pathlib.Path, script: str, timeout_s: float) -> str:
    """What the machine said on its serial line while it ran `script`; its disk is as before."""
    extra = image.with_suffix(".script")
    extra.write_bytes(script.encode().ljust(SCRIPT_BYTES, b"\n"))
    words = "root=/dev/vda rw quiet console=ttyS0 panic=-1 systemd.run=/t.sh"
    ending = "systemd.run_success_action=poweroff systemd.run_failure_action=poweroff"
    command = [
        *(_program(EMULATOR), "-accel", "tcg,thread=multi", "-m", "1024", "-smp", "2", "-nographic", "-no-reboot"),
        *("-net", "none", "-kernel", _boot("vmlinuz"), "-initrd", _boot("initrd.img")),
        *("-drive", f"file={image},if=virtio,format=raw,snapshot=on"),
        *("-drive", f"file={extra},if=virtio,format=raw,readonly=on"),
        *("-append", f"{words} {ending}"),
    ]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=True)
    return done.stdout.decode(errors="replace").replace("\r", "")


def _copy_distribution(name: str, target: pathlib.Path) -> None:
    for file in importlib.metadata.distribution(name).files or ():
        if ".." in file.parts or file.suffix == ".pyc":
            continue
        place = target / file
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file.locate(), place)


def _program(name: str) -> str:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") or ""


def _boot(name: str) -> str:
    """The newest of the kernels for virtual machines."""
    return max((str(file) for file in pathlib.Path("/boot").glob(f"{name}-*-cloud-*")), default="")
