"""How processes are started.

The processes are spawned and not forked: the calling program may have torch's threads and an open
HDF5 file. They import nothing of the calling program, whose main script therefore needs no
``if __name__ == "__main__":`` and may as well come from standard input, ``python -c`` or a
notebook. The standard library's spawned processes import that script; loky's do not, and joblib,
which scikit-learn brings along, contains loky.
"""

from __future__ import annotations

from typing import Any

from joblib.externals.loky.backend.context import LokyContext
from joblib.externals.loky.backend.process import LokyProcess


class _Process(LokyProcess):
    """Finds no module in the current folder while it starts; then it searches where the calling
    program does.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options, env={"PYTHONSAFEPATH": "1"})


class ProcessContext(LokyContext):
    """For pebble's pool."""

    Process = _Process
