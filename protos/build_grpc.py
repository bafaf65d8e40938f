"""The setuptools command `build_grpc`: makes the wire code from the .proto files at build time.

It runs for a wheel, an sdist and an editable install. protoc works from the repository root, so that the generated
modules import `protos.…` and never a top-level name that is not ours. grpcio-tools is needed here and nowhere else.
"""

import pathlib
import sys
from typing import ClassVar

from setuptools import Command
from setuptools.command.build import build

ROOT = pathlib.Path(__file__).resolve().parent.parent


def generate(root: pathlib.Path, output: pathlib.Path, options: list[str]) -> list[pathlib.Path]:
    """Write the Python modules of every protos/*.proto below `output`; return them. Raises SystemExit if protoc fails."""
    import grpc_tools
    from grpc_tools import protoc

    sources = sorted(path.relative_to(root).as_posix() for path in (root / "protos").glob("*.proto"))
    include = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    plugins = pathlib.Path(sys.executable).parent
    typed = [
        f"--plugin=protoc-gen-mypy={plugins / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={plugins / 'protoc-gen-mypy_grpc'}",
        f"--mypy_out={output}",
        f"--mypy_grpc_out={output}",
    ]
    if not (plugins / "protoc-gen-mypy").exists():
        typed = []  # an isolated build puts plugins on PATH instead; types matter to our own checks alone
    arguments = ["protoc", f"-I{root}", f"-I{include}", f"--python_out={output}", f"--grpc_python_out={output}", *typed]
    if protoc.main([*arguments, *options, *sources]) != 0:
        raise SystemExit(f"cannot generate the wire code from {', '.join(sources)}: see protoc's message above")
    return sorted((output / "protos").glob("*_pb2*"))


class BuildGrpc(Command):
    """`python -m setuptools build_grpc`; its one setting `options` is in setup.cfg."""

    description = "generate the gRPC code from protos/*.proto"
    user_options: ClassVar = [("options=", None, "more arguments for protoc"), ("build-lib=", "b", "where to build")]
    editable_mode = False

    def initialize_options(self) -> None:
        self.options = ""
        self.build_lib: str | None = None

    def finalize_options(self) -> None:
        self.set_undefined_options("build", ("build_lib", "build_lib"))

    def run(self) -> None:
        output = ROOT if self.editable_mode or self.build_lib is None else pathlib.Path(self.build_lib)
        output.mkdir(parents=True, exist_ok=True)
        generate(ROOT, output, self.options.split())

    def get_outputs(self) -> list[str]:
        return [str(path) for path in sorted((ROOT / "protos").glob("*_pb2*"))]

    def get_output_mapping(self) -> dict[str, str]:
        return {}

    def get_source_files(self) -> list[str]:
        return [str(path.relative_to(ROOT)) for path in sorted((ROOT / "protos").glob("*.proto"))]


class Build(build):
    """The ordinary build, with the wire code made first."""

    sub_commands: ClassVar = [("build_grpc", None), *build.sub_commands]


if __name__ == "__main__":
    generate(ROOT, ROOT, sys.argv[1:])
