"""Files that are either the old or the new, never torn, and readable by their owner alone."""

import os
import pathlib
import tempfile


def write_private(path: pathlib.Path, text: str) -> None:
    """Replace `path` by `text`, mode 0600; directories above it are made 0700. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = pathlib.Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
