"""Secrets at rest: each value under a key of its own, that key under the newest key of a file outside the database.

A sealed value is bound to its table, row and column: copied to another place it does not open. Replacing the file's key
(`Keyring.rotate`) leaves what is sealed alone; `rewrap` brings a value under the newest key without opening it for anybody.
The file has one line for each key, the newest last. It is read again when it has changed, before anything is sealed, and
when a value names a key that is not known yet: so another process may replace the key while this one runs. Keys that are
gone from the file stay known to a process that had them, for readers that began before.
"""

import base64
import contextlib
import fcntl
import os
import pathlib
import re
from collections.abc import Iterator

from cryptography import exceptions
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from control_plane import errors

FORMAT = "v1"
KEY_BYTES = 32
NONCE_BYTES = 12
LINE = re.compile(rb"([0-9a-f]{12}) ([A-Za-z0-9+/]{43}=)\n")
MAX_FILE = 1 << 20


class SealError(errors.DployrError):
    """A sealed value cannot be opened: its key is gone, it was changed, or it stood in another place."""


class Keyring:
    """The keys of one installation. Thread-safe: it changes by replacement only."""

    def __init__(self, path: pathlib.Path, keys: dict[str, bytes], seen: tuple[int, ...] = ()) -> None:
        self._path = path
        self._keys = keys
        self._seen = seen  # the state of the file when it was read

    @classmethod
    def load_or_create(cls, path: pathlib.Path) -> "Keyring":
        """The keys in `path` (0600), made when there is no such file. SealError when others can read it."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _create(path, _new_key())
        seen = _state_of(path)
        return cls(path, _read(path), seen)

    @property
    def newest(self) -> str:
        self._notice_change()
        return next(reversed(self._keys))

    @property
    def older(self) -> tuple[str, ...]:
        """The names of all keys but the newest."""
        return tuple(self._keys)[:-1]

    def rotate(self) -> str:
        """Add a key, by which everything is sealed from now on; its name. Older ones still open what they sealed."""
        with _locked(self._path):
            kept = [_line(name, key) for name, key in _read(self._path).items()]
            _replace(self._path, *kept, _new_key())
        return self.newest

    def forget_older(self) -> None:
        """Drop all keys but the newest, once nothing is under them any more."""
        with _locked(self._path):
            name, key = list(_read(self._path).items())[-1]
            _replace(self._path, _line(name, key))
            self._seen = _state_of(self._path)
        self._keys = {name: key}

    def seal(self, text: str, place: str) -> str:
        """`text` for the place `table|row|column`."""
        inner = os.urandom(KEY_BYTES)
        body = _encrypt(inner, text.encode(), place)
        return f"{FORMAT}.{self._wrap(inner)}.{_text(body)}"

    def open(self, sealed: str, place: str) -> str:
        """The text again. Raises SealError."""
        kid, wrapped, body = _parts(sealed)
        inner = _decrypt(self._key(kid), wrapped, kid)
        return _decrypt(inner, body, place).decode()

    def rewrap(self, sealed: str) -> str:
        """The same under the newest key; unchanged when it is there already. Raises SealError."""
        kid, wrapped, body = _parts(sealed)
        if kid == self.newest:
            return sealed
        return f"{FORMAT}.{self._wrap(_decrypt(self._key(kid), wrapped, kid))}.{_text(body)}"

    def _wrap(self, inner: bytes) -> str:
        kid = self.newest
        return f"{kid}.{_text(_encrypt(self._keys[kid], inner, kid))}"

    def _key(self, kid: str) -> bytes:
        if kid not in self._keys:
            self._notice_change()  # another process rotated
        if kid not in self._keys:
            raise SealError(f"cannot open a sealed value: the key {kid} is not in {self._path}; restore that file")
        return self._keys[kid]

    def _notice_change(self) -> None:
        """Read the file again when it is not as it was; what was known stays, before what stands there now."""
        seen = _state_of(self._path)
        if seen != self._seen:
            found = _read(self._path)
            self._keys = {**{name: key for name, key in self._keys.items() if name not in found}, **found}
            self._seen = seen


def _encrypt(key: bytes, data: bytes, place: str) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, data, place.encode())


def _decrypt(key: bytes, data: bytes, place: str) -> bytes:
    try:
        return AESGCM(key).decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], place.encode())
    except (exceptions.InvalidTag, ValueError) as error:
        raise SealError("cannot open a sealed value: it was changed, or it belongs to another place") from error


def _parts(sealed: str) -> tuple[str, bytes, bytes]:
    try:
        form, kid, wrapped, body = sealed.split(".")
        if form != FORMAT:
            raise ValueError(form)
        return kid, base64.b64decode(wrapped, validate=True), base64.b64decode(body, validate=True)
    except ValueError as error:
        raise SealError("cannot open a sealed value: it is not one") from error


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _new_key() -> str:
    return _line(os.urandom(6).hex(), os.urandom(KEY_BYTES))


def _line(name: str, key: bytes) -> str:
    return f"{name} {_text(key)}\n"


def _create(path: pathlib.Path, *lines: str) -> None:
    """Make the file, whole or not at all. Of two processes the first one's stays."""
    with _written(path, *lines) as temporary, contextlib.suppress(FileExistsError):
        os.link(temporary, path)
    _sync(path.parent)


def _replace(path: pathlib.Path, *lines: str) -> None:
    """Another content for the file: after a crash it is the old one or the new one."""
    with _written(path, *lines) as temporary:
        temporary.replace(path)
    _sync(path.parent)


@contextlib.contextmanager
def _written(path: pathlib.Path, *lines: str) -> Iterator[pathlib.Path]:
    """A file beside `path` with `lines` on the disk, for as long as the block."""
    temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        with os.fdopen(os.open(temporary, flags, 0o600), "w", encoding="ascii") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _sync(directory: pathlib.Path) -> None:
    """A file whose name is not on the disk is lost with the power; what was sealed under its keys would be too."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _locked(path: pathlib.Path) -> Iterator[None]:
    """One process at a time changes the keys: of two that replace the file the second would lose the first one's key."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _state_of(path: pathlib.Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except FileNotFoundError:
        raise SealError(f"cannot use the keys in {path}: there is no such file any more; restore it") from None
    return (found.st_ino, found.st_size, found.st_mtime_ns)


def _read(path: pathlib.Path) -> dict[str, bytes]:
    """The keys by name, the newest last. A file of which others know, or of which a part is lost, is not used at all."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC), "rb") as file:
        if os.fstat(file.fileno()).st_mode & 0o077:
            raise SealError(f"cannot use the keys in {path}: others can read it; make it 0600")
        lines = file.read(MAX_FILE).splitlines(keepends=True)
    found = [LINE.fullmatch(line) for line in lines]
    keys = {one[1].decode(): base64.b64decode(one[2]) for one in found if one}
    if not keys or len(keys) != len(lines):
        raise SealError(f"cannot use the keys in {path}: the file is damaged; restore it from a backup")
    return keys
