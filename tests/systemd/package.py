"""dployr as a wheel, built from this checkout, and what an installation of it needs beside itself."""

import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = [pattern.removesuffix("*") for pattern in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]]
SOURCES = (*PACKAGES, "pyproject.toml", "setup.cfg", "README.md", "LICENSE")
DEPENDENCIES = pathlib.Path(sysconfig.get_path("purelib"))
MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"


def interpreter() -> pathlib.Path | None:
    """A Python that the checkout's packages fit and that every user may run; our own is perhaps in somebody's home."""
    places = (pathlib.Path("/usr/bin"), pathlib.Path("/usr/local/bin"))
    return next((found for place in places if (found := place / f"python{MINOR}").exists()), None)


def build(version: str, into: pathlib.Path) -> pathlib.Path:
    """A wheel of this checkout that calls itself `version`."""
    source = into / f"source-{version}"
    source.mkdir(parents=True)
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source / name)
    project = source / "pyproject.toml"
    project.write_text(re.sub(r'(?m)^version = ".*"$', f'version = "{version}"', project.read_text(), count=1))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(into), str(source)]
    subprocess.run([*pip, *options], check=True, timeout=120, capture_output=True)
    (wheel,) = into.glob(f"dployr-{version}-*.whl")
    return wheel
