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
        # The name goes while the lock is held, so that whoever opened the file meanwhile finds out
        # in `_take`. Windows removes no file that is open, so there the name goes after closing.
        if fcntl:
            path.unlink(missing_ok=True)
        file.close()
        if not fcntl:
            with contextlib.suppress(OSError):
                path.unlink()


def _take(path):
    """The open file that holds the lock; a file that a killed process left is taken over."""
    while True:
        # Outside of the `try`, as a folder that cannot be written is another error. "a" creates the
        # file where there is none, and changes nothing in one that another process holds.
        file = path.open("a+b")
        try:
            _lock(file.fileno())
            # The holder before may have removed the file between our opening and our locking it;
            # that lock would be on a file that nobody else can find.
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        # What flock and msvcrt say of a lock that is held.
        except (BlockingIOError, PermissionError) as error:
            file.close()
            raise ValueError(
                "`out` must be a folder that no other training writes to at the same time. "
                f"Received: {path.parent}"
            ) from error
        except FileNotFoundError:  # released between two of the lines above
            pass
        # Some network file systems have no locks; a training without one is better than none.
        except OSError:
            return file
        file.close()


def _lock(number: int) -> None:
    # A lock of flock belongs to the open file, so it keeps a second training of the same process
    # out too, which fcntl's record locks would let in. The kernel frees it when a process dies.
    if fcntl:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        # msvcrt locks bytes from the current position on, so all must go to the same one.
        os.lseek(number, 0, os.SEEK_SET)
        msvcrt.locking(number, msvcrt.LK_NBLCK, 1)
