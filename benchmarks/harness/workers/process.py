"""A worker process: carries out one task after another, asked and answering through a pair of pipes."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from importlib import import_module
from typing import IO, Any

import cloudpickle

from benchmarks.errors import UserError, one_line
from benchmarks.harness.workers.memory import give_back, keep_freed_memory

READY, FREED, DONE, RAISED = b"r", b"f", b"d", b"x"
"""What an answer is: ready for work; limits hold no longer; what the task returned; the exception it raised."""

WATCH_SECONDS = 0.2
"""So often a worker looks whether the process that started it is still there."""

Task = Callable[[Callable[[], None]], Any]
"""What a worker can do: anything that cloudpickle can send. It is given a function to call once its limits no longer
hold, and what it returns is sent back."""


def send(pipe: IO[bytes], kind: bytes, content: bytes = b"") -> None:
    """Write one message."""
    pickle.dump((kind, content), pipe)
    pipe.flush()


def receive(pipe: IO[bytes]) -> tuple[bytes, bytes]:
    """Read one message.

    Raises:
        EOFError: if the other side is gone.
    """
    try:
        return pickle.load(pipe)
    except pickle.UnpicklingError:  # a part of a message
        raise EOFError from None


def main() -> None:
    """Import what is to be at hand, then answer until nobody asks any more.

    What a task prints goes to standard error.
    """
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the first one decides
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()
    keep_freed_memory()
    for module in sys.argv[1:]:
        import_module(module)
    try:
        send(answers, READY)
        while True:
            _, content = receive(requests)
            send(answers, *_answer(content, answers))
            give_back()
    except (EOFError, BrokenPipeError):
        os._exit(0)


def _answer(content: bytes, answers: IO[bytes]) -> tuple[bytes, bytes]:
    try:
        task: Task = cloudpickle.loads(content)
    except Exception as error:
        why = f"a worker process cannot load what it is to compute: {one_line(error)}"
        return RAISED, cloudpickle.dumps(UserError(why))
    try:
        return DONE, cloudpickle.dumps(task(lambda: send(answers, FREED)))
    except Exception as error:
        return RAISED, _portable(error)


def _portable(error: Exception) -> bytes:
    """An exception, its traceback in a note; in place of one that cannot be sent, a RuntimeError that says the same."""
    trace = "".join(traceback.format_exception(error)).rstrip()
    for sent in (error, RuntimeError(one_line(error))):
        sent.add_note(f"In a worker process:\n{trace}")
        try:
            content = cloudpickle.dumps(sent)
            cloudpickle.loads(content)
        except Exception:
            continue
        return content
    raise AssertionError("a RuntimeError with a text can be sent")


def _watch(parent: int) -> None:
    """End this process when the one that started it is gone, even in the middle of a task."""
    end = os._exit  # while a plug-in is at work, it is another
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    end(1)


if __name__ == "__main__":
    sys.exit(main())
