"""A lock on a folder, which the operating system takes back from a process that ends."""

from __future__ import annotations

import contextlib
import os
import pathlib

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt

LOCK = ".lock"


@contextlib.contextmanager
def locked(folder):
    """Holds the lock of a folder, against other processes and against this one.

    Raises:
        ValueError: if another training holds it.
    """
    path = pathlib.Path(folder) / LOCK
    file = _take(path)
    try:
        yield
    finally:
        if fcntl:
            path.unlink(missing_ok=True)  # while it is held: who waits for it finds it gone
        file.close()
        if not fcntl:
            with contextlib.suppress(OSError):
                path.unlink()


def _take(path):
    """The open file that holds the lock; a file that is left of a killed process is taken over."""
    while True:
        file = path.open("a+b")
        try:
            _lock(file.fileno())
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except (BlockingIOError, PermissionError) as error:
            file.close()
            raise ValueError(
                "`out` must be a folder that no other training writes to at the same time. "
                f"Received: {path.parent}"
            ) from error
        except FileNotFoundError:  # released between two of the lines above
            pass
        except OSError:  # a file system without locks
            return file
        file.close()


def _lock(number: int) -> None:
    if fcntl:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        os.lseek(number, 0, os.SEEK_SET)
        msvcrt.locking(number, msvcrt.LK_NBLCK, 1)
