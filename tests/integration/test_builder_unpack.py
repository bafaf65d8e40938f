"""Uploaded sources: what becomes a tree, and what a hostile archive gets."""

import asyncio
import io
import os
import pathlib
import stat
import struct
import subprocess
import sys
import tarfile
import zipfile

import pytest
import zstandard

from node_agent.builder import archive as archives
from node_agent.errors import ReleaseFailedError
from node_agent.model.spec import Runtime
from node_agent.supervisor_client import SupervisorClient
from tests.builder_fixtures import SERVICE, UNPACK, Bench
from tests.supervisor_host import SupervisorHost
from tests.waiting import wait_until_async


def member(name: str, data: bytes = b"", **fields) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def link(name: str, target: str, kind=tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=kind, linkname=target)


def tar(*members) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def gz(*members) -> bytes:
    import gzip

    return gzip.compress(tar(*members), 1)


def zst(*members) -> bytes:
    return zstandard.ZstdCompressor().compress(tar(*members))


def a_zip(files: dict[str, bytes], modes: dict[str, int] | None = None) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (modes or {}).get(name, 0o100644) << 16
            archive.writestr(info, data)
    return out.getvalue()


def unpacked(tmp_path: pathlib.Path, data: bytes) -> tuple[int, str, pathlib.Path]:
    """Exit code, last line and tree of the program on `data`."""
    archive, tree = tmp_path / "archive", tmp_path / "outer" / "tree"
    archive.write_bytes(data)
    tree.mkdir(parents=True)
    ended = subprocess.run(
        [sys.executable, "-I", str(UNPACK), str(archive)],
        cwd=tree,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.stderr == ""
    return ended.returncode, ended.stdout.strip(), tree


SOURCE = (member("./index.html", b"hello"), member("bin/run", b"#!", mode=0o755), link("latest", "bin/run"))


@pytest.mark.parametrize(
    "data",
    [
        gz(member(".", type=tarfile.DIRTYPE), *SOURCE),
        zst(*SOURCE),
        a_zip(
            {"index.html": b"hello", "bin/": b"", "bin/run": b"#!", "latest": b"bin/run"},
            {"bin/run": 0o100755, "latest": stat.S_IFLNK | 0o777, "bin/": 0o040755},
        ),
    ],
    ids=["gzip", "zstd", "zip"],
)
def test_every_form_becomes_the_same_tree(tmp_path, data):
    code, said, tree = unpacked(tmp_path, data)
    assert (code, said) == (0, "")
    assert sorted(str(path.relative_to(tree)) for path in tree.rglob("*")) == ["bin", "bin/run", "index.html", "latest"]
    assert (tree / "index.html").read_bytes() == b"hello"
    assert stat.S_IMODE((tree / "bin/run").stat().st_mode) == 0o755
    assert stat.S_IMODE((tree / "index.html").stat().st_mode) == 0o644
    assert (tree / "latest").readlink() == pathlib.Path("bin/run")


def test_a_hard_link_becomes_a_file_of_its_own_and_the_last_of_a_name_counts(tmp_path):
    data = gz(member("a", b"1"), link("b", "a", tarfile.LNKTYPE), member("a", b"2"), link("c", "b"), member("c", b"3"))
    code, _, tree = unpacked(tmp_path, data)
    assert code == 0
    assert [(tree / name).read_bytes() for name in "abc"] == [b"2", b"1", b"3"]
    assert (tree / "b").stat().st_nlink == 1


def _bomb() -> bytes:
    packer = zstandard.ZstdCompressor().compressobj()
    info, _ = member("zeros")
    info.size = 3 << 30
    out = packer.compress(info.tobuf(tarfile.PAX_FORMAT))
    for _ in range(96):
        out += packer.compress(bytes(1 << 20))
    return out + packer.flush()


def _overlapping_zip() -> bytes:
    return a_zip({"zeros": bytes(100 << 20)})


def _encrypted_zip() -> bytes:
    data = bytearray(a_zip({"a": b"x"}))
    at = data.index(b"PK\x01\x02")
    data[at + 8 : at + 10] = struct.pack("<H", 1)
    return bytes(data)


HOSTILE = {
    "absolute": (gz(member("/etc/x", b"x")), "absolute path"),
    "upwards": (gz(member("a/../../x", b"x")), "upwards"),
    "zip upwards": (a_zip({"../x": b"x"}), "upwards"),
    "zip absolute": (a_zip({"/tmp/x": b"x"}), "absolute path"),
    "through a link": (gz(link("out", ".."), member("out/x", b"x")), "lies below a link"),
    "through a link inside": (gz(member("d/f", b""), link("l", "d"), member("l/x", b"x")), "lies below a link"),
    "link out": (gz(link("a/b", "../../x")), "leads out"),
    "link absolute": (gz(link("a", "/etc/passwd")), "absolute path"),
    "links that lead out together": (
        gz(member("a/b/f", b""), link("a/b/up", "../.."), link("out", "a/b/up/..")),
        "leads out",
    ),
    "zip link out": (a_zip({"l": b"../../x"}, {"l": stat.S_IFLNK | 0o777}), "leads out"),
    "zip link absolute": (a_zip({"l": b"/etc"}, {"l": stat.S_IFLNK | 0o777}), "absolute path"),
    "hard link out": (gz(link("a", "../../x", tarfile.LNKTYPE)), "upwards"),
    "hard link absolute": (gz(link("a", "/etc/passwd", tarfile.LNKTYPE)), "absolute path"),
    "hard link to a link": (gz(link("l", "x"), link("a", "l", tarfile.LNKTYPE)), "no file of the archive"),
    "hard link to a directory": (gz(member("d/f", b""), link("a", "d", tarfile.LNKTYPE)), "no file of the archive"),
    "device": (gz(member("d", type=tarfile.CHRTYPE)), "device"),
    "block device": (gz(member("d", type=tarfile.BLKTYPE)), "device"),
    "FIFO": (gz(member("f", type=tarfile.FIFOTYPE)), "FIFO"),
    "zip FIFO": (a_zip({"f": b""}, {"f": stat.S_IFIFO | 0o644}), "FIFO"),
    "file and directory": (gz(member("a/b", b"x"), member("a", b"x")), "directory and a file"),
    "below a file": (gz(member("a", b"x"), member("a/b", b"x")), "below a link or a file"),
    "no name": (gz(member("./", b"x")), "no name"),
    "deep": (gz(member("a/" * 65 + "x", b"x")), "deeper"),
    "long": (gz(member("a" * 256, b"x")), "too long"),
    "long path": (gz(member("/".join(["a" * 200] * 6), b"x")), "too long"),
    "bomb": (_bomb(), "larger than"),
    "zip bomb": (_overlapping_zip(), "larger than"),
    "encrypted": (_encrypted_zip(), "encrypted"),
    "rubbish": (b"no archive at all", "no .tar.gz"),
    "empty": (b"", "no .tar.gz"),
    "cut gzip": (gz(*SOURCE)[:-20], "damaged"),
    "cut zip": (a_zip({"a": b"x" * 1000})[:-30], "damaged"),
    "gzip of rubbish": (__import__("gzip").compress(b"rubbish" * 500), "damaged"),
    "zstd of rubbish": (b"\x28\xb5\x2f\xfd" + b"x" * 100, "damaged"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_in_a_sentence_and_nothing_is_outside(tmp_path, name):
    data, words = HOSTILE[name]
    code, said, tree = unpacked(tmp_path, data)
    assert code == 2
    assert said.splitlines()[-1].startswith("cannot unpack the uploaded source: ")
    assert words in said
    assert sorted(path.name for path in tree.parent.iterdir()) == ["tree"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "outer"]


def test_too_many_entries_are_refused(tmp_path):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for number in range(3200):
            archive.addfile(tarfile.TarInfo("/".join(f"{number}.{level}" for level in range(63))))
    code, said, _ = unpacked(tmp_path, zstandard.ZstdCompressor().compress(out.getvalue()))
    assert (code, "more than 200000 entries" in said) == (2, True)


def test_a_sparse_file_counts_as_large_as_it_reads(tmp_path):
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.truncate(10 << 30)
    subprocess.run(["tar", "-S", "-czf", "sparse.tar.gz", "sparse"], cwd=tmp_path, check=True)
    data = (tmp_path / "sparse.tar.gz").read_bytes()
    assert len(data) < 4096
    (tmp_path / "place").mkdir()
    code, said, tree = unpacked(tmp_path / "place", data)
    assert (code, "larger than 64 MiB" in said) == (2, True)
    assert sum(path.stat().st_size for path in tree.rglob("*")) <= 65 << 20


# builds of uploaded sources


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def a_local(bench: Bench, number: int, digest: str, **changes):
    return bench.release(number, **{"remote": "", "branch": "", "source": "local", "archive": digest, **changes})


async def test_an_uploaded_source_becomes_a_release_under_its_digest(bench):
    digest = bench.uploads.put(gz(*SOURCE))
    artifact = await bench.build(a_local(bench, 1, digest))
    assert (artifact.commit, artifact.static_root) == (digest, ".")
    assert (bench.tree() / "index.html").read_text() == "hello"
    assert bench.steps == [("fetching", digest), ("building", digest)]
    assert list(bench.paths.archives.iterdir()) == []
    assert await bench.left_over() == []


async def test_the_same_archive_is_neither_fetched_nor_built_again(bench):
    digest = bench.uploads.put(gz(*SOURCE))
    await bench.build(a_local(bench, 1, digest))
    await bench.build(a_local(bench, 2, digest, run_cmd="x"))
    assert bench.uploads.fetched == [digest]


async def test_the_commands_of_a_build_run_in_what_was_uploaded(bench):
    digest = bench.uploads.put(zst(member("src/a", b"1")))
    release = a_local(bench, 1, digest, working_dir="src", build_cmd="cp a index.html", runtime=Runtime.STATIC)
    await bench.build(release)
    assert (bench.tree() / "src/index.html").read_text() == "1"


@pytest.mark.parametrize(
    ("archive", "code"),
    [("", "no_archive"), ("../../etc/passwd", "no_archive"), ("f" * 64, "archive_gone"), (None, "bad_archive")],
    ids=["none", "path", "gone", "hostile"],
)
async def test_an_upload_that_cannot_be_used_fails_its_release(bench, archive, code):
    digest = bench.uploads.put(gz(link("a", "/etc"))) if archive is None else archive
    with pytest.raises(ReleaseFailedError, match="cannot ") as caught:
        await bench.build(a_local(bench, 1, digest))
    assert caught.value.code == code
    assert await bench.left_over() == []
    assert not bench.paths.archives.exists() or list(bench.paths.archives.iterdir()) == []


def test_what_a_killed_agent_left_of_uploads_is_swept(bench):
    left = bench.paths.archive(SERVICE, 1)
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    archives.sweep(bench.paths)
    assert os.listdir(bench.paths.archives) == []


async def test_the_supervisor_unpacks_and_a_cancelled_build_leaves_nothing(tmp_path):
    host = SupervisorHost(tmp_path / "root")
    host.start()
    client = SupervisorClient(host.paths)
    try:
        await client.connect(20)
        bench = Bench(tmp_path, supervisor=client, paths=host.paths)
        digest = bench.uploads.put(gz(*SOURCE))
        assert (await bench.build(a_local(bench, 1, digest))).commit == digest
        bad = bench.uploads.put(gz(link("a", "/etc")))
        with pytest.raises(ReleaseFailedError, match="absolute path '/etc'"):
            await bench.build(a_local(bench, 2, bad))
        task = asyncio.create_task(bench.build(a_local(bench, 3, digest, build_cmd="sleep 600")))
        await wait_until_async(lambda: any(marker.endswith(".r3.build") for marker in host.marked()))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not host.marked()
        assert await bench.left_over() == []
        assert os.listdir(host.paths.archives) == []
    finally:
        await client.close()
        host.close()
    assert host.paths.releases(SERVICE).exists()
