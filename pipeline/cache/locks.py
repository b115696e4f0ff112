"""One writer a file."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where a second writer is the user's to avoid
    fcntl = None  # type: ignore[assignment]

LOG = logging.getLogger(__name__)
# what file systems answer that have no locks; 524 is Linux's own ENOTSUPP, as of some NFS servers
WITHOUT_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EIO, 524}


def lock_to_write(handle: int, path: Path) -> None:
    """Locks an open file until it is closed; the end of a process ends its locks too.

    BlockingIOError where another process has it. Where the file system has no locks the file is
    used without one, with a warning: a cache on such a disk is still a sound one.
    """
    if fcntl is None:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise
        LOG.warning(
            "%s lies on a file system without locks (%s); make sure that no other process writes "
            "to it",
            path,
            os.strerror(error.errno or 0),
        )
