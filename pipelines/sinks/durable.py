"""Files that are whole or not there, and stay there: the one way anything enters landing or media.

Belongs here: making, naming and syncing. Not here: what is in a file.
"""

from __future__ import annotations

import errno
import os
import uuid
from pathlib import Path

from pipelines.errors import KanalError, PermanentError, TransientError

_TRIES = 5  # compaction may take an emptied folder away between its making and its use


def put_if_absent(path: Path, data: bytes) -> bool:
    """Make `path` hold `data`, durably, unless it exists; True if we made it.

    The compare-and-swap everything rests on. os.link fails where a rename would silently replace,
    and the name appears only when the bytes are on disk. TransientError where the disk is full,
    PermanentError where the folder cannot be written.
    """
    for left in reversed(range(_TRIES)):
        try:
            _make_dirs(path.parent)
            return _linked(path, data)
        except FileNotFoundError as error:
            if not left:
                raise _unwritten(path.parent, error) from error
        except OSError as error:
            raise _unwritten(path.parent, error) from error
    raise AssertionError


def make_root(root: Path) -> None:
    """The folder that holds landing is for analysts too: the snapshot lies there. Landing itself is not."""
    try:
        if not root.is_dir():
            root.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            _make_dirs(root)
    except OSError as error:
        raise _unwritten(root, error) from error


def sync_dir(folder: Path) -> None:
    """What the folder lists is on disk when this returns."""
    _sync_dir(folder)


def _linked(path: Path, data: bytes) -> bool:
    temp = path.parent / f".{uuid.uuid4().hex}.tmp"
    try:
        _write_synced(temp, data)
        os.link(temp, path)
    except FileExistsError:
        return False
    finally:
        temp.unlink(missing_ok=True)
    _sync_dir(path.parent)
    return True


def _unwritten(folder: Path, error: OSError) -> KanalError:
    why = error.strerror or type(error).__name__
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return TransientError(f"landing: {folder} cannot be written ({why}); free space on its disk and try again")
    return PermanentError(f"landing: {folder} cannot be written ({why}); check its permissions and its disk")


def _make_dirs(folder: Path) -> None:
    """mkdir -p with mode 0700 that is durable: a new folder's parent is synced too."""
    if folder.is_dir():
        return
    _make_dirs(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    _sync_dir(folder.parent)


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_dir(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
