"""Secrets at rest: each value under a key of its own, that key under the newest key of a file outside the database.

A sealed value is bound to its table, row and column: copied to another place it does not open. Replacing the file's key
(`Keyring.rotate`) leaves what is sealed alone; `rewrap` brings a value under the newest key without opening it for anybody.
The file has one line for each key, the newest last; it is read again when a value names a key that is not known yet.
"""

import base64
import os
import pathlib

from cryptography import exceptions
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from control_plane import errors

FORMAT = "v1"
KEY_BYTES = 32
NONCE_BYTES = 12


class SealError(errors.DployrError):
    """A sealed value cannot be opened: its key is gone, it was changed, or it stood in another place."""


class Keyring:
    """The keys of one installation. Thread-safe: it changes by replacement only."""

    def __init__(self, path: pathlib.Path, keys: dict[str, bytes]) -> None:
        self._path = path
        self._keys = keys

    @classmethod
    def load_or_create(cls, path: pathlib.Path) -> "Keyring":
        """The keys in `path` (0600), made when there is no such file. SealError when others can read it."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _append(path, _new_key())
        return cls(path, _read(path))

    @property
    def newest(self) -> str:
        return next(reversed(self._keys))

    def rotate(self) -> str:
        """Add a key, by which everything is sealed from now on; its name. Older ones still open what they sealed."""
        _append(self._path, _new_key())
        self._keys = _read(self._path)
        return self.newest

    def forget_older(self) -> None:
        """Drop all keys but the newest, once nothing is under them any more."""
        newest = {self.newest: self._keys[self.newest]}
        temporary = self._path.with_name(f".{self._path.name}.new")
        temporary.unlink(missing_ok=True)
        _append(temporary, *(_line(name, key) for name, key in newest.items()))
        temporary.replace(self._path)
        self._keys = newest

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
            self._keys = _read(self._path)  # another process rotated
        if kid not in self._keys:
            raise SealError(f"cannot open a sealed value: the key {kid} is not in {self._path}; restore that file")
        return self._keys[kid]


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


def _append(path: pathlib.Path, *lines: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())


def _read(path: pathlib.Path) -> dict[str, bytes]:
    if path.stat().st_mode & 0o077:
        raise SealError(f"cannot use the keys in {path}: others can read it; make it 0600")
    keys: dict[str, bytes] = {}
    for line in path.read_text(encoding="ascii").splitlines():
        name, _, key = line.partition(" ")
        keys[name] = base64.b64decode(key)
    if not keys or any(len(key) != KEY_BYTES for key in keys.values()):
        raise SealError(f"cannot use the keys in {path}: the file is damaged; restore it from a backup")
    return keys
