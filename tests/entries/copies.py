"""An entry's process as a copy of this one: a box without walls, and without the seconds that Python takes to start."""

from __future__ import annotations

import os
import sys
import threading
import warnings

from benchmarks.entries import inside


class Copy:
    """Stands for the `subprocess.Popen` of a box.

    Args:
        words: the entry's file, and the name of its class.
    """

    def __init__(self, words: list[str], **_: object) -> None:
        (asked, asks), (answers, answered), (heard, said) = (os.pipe() for _ in range(3))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # other threads of this process wait for the tests
            self.pid = os.fork()
        if not self.pid:
            _be(words, asked, answered, said)
        for end in (asked, answered, said):
            os.close(end)
        self.stdin, self.stdout, self.stderr = os.fdopen(asks, "wb"), os.fdopen(answers, "rb"), os.fdopen(heard, "rb")
        self.returncode: int | None = None
        self._waits = threading.Lock()

    def poll(self) -> int | None:
        return self._wait(os.WNOHANG)

    def wait(self) -> int | None:
        return self._wait(0)

    def _wait(self, options: int) -> int | None:
        with self._waits:
            if self.returncode is None:
                ended, status = os.waitpid(self.pid, options)
                self.returncode = os.waitstatus_to_exitcode(status) if ended else None
            return self.returncode


def _be(words: list[str], *ends: int) -> None:
    """Be an entry's process, with these ends of pipes as standard input, output and error."""
    for number, end in enumerate(ends):
        os.dup2(end, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    sys.argv = ["inside.py", *words]
    sys.stdout = sys.stderr = os.fdopen(2, "w", buffering=1)
    try:
        inside.main()
    finally:
        os._exit(0)
