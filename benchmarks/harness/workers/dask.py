"""The scores pass on a Dask cluster: each of its workers supervises one process of ours, as the local pass does."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import cloudpickle

from benchmarks.errors import UserError, one_line
from benchmarks.harness.cell import CellResult
from benchmarks.harness.scores.table import Scored, summarised
from benchmarks.harness.workers.cells import Job, cell_worker, score

if TYPE_CHECKING:
    from distributed import Client

AHEAD = 2
"""Cells for each thread of the cluster that are handed out at once: one is computed, one waits at hand."""

CONNECT_SECONDS = 10

WORKER_SECONDS = 300
"""A scheduler may be started before its workers."""

_OF_THREAD = threading.local()


def run_on_cluster(work: Sequence[Job], address: str) -> Iterator[tuple[int, Scored]]:
    """Compute every job on the workers of a scheduler.

    Limits and the one retry are those of `score`, with a worker of ours beside each Dask thread. A cell whose Dask
    worker is lost is moved to another one by the scheduler (`distributed.scheduler.allowed-failures`, 3 by default).

    Raises:
        UserError: if Dask is not installed, no scheduler answers, or the cluster is lost.
    """
    with _connect(address) as client:
        from distributed import as_completed

        _wait_for_workers(client, address)
        threads = sum(cast("dict[str, int]", client.nthreads()).values())
        todo, waiting = iter(enumerate(work)), as_completed(loop=client.loop)
        numbers: dict[Any, int] = {}

        def hand_out(cells: int) -> None:
            for number, job in islice(todo, cells):
                future = client.submit(score_here, cloudpickle.dumps(job), pure=False)
                numbers[future.key] = number
                waiting.add(future)

        hand_out(AHEAD * threads)
        for future in waiting:
            number = numbers.pop(future.key)
            scored = _result(future, work[number])
            future.release()
            hand_out(1)
            yield number, scored


def score_here(request: bytes) -> bytes:
    """Compute a job in the process that this thread supervises."""
    if not hasattr(_OF_THREAD, "worker"):
        _OF_THREAD.worker = cell_worker()
    return cloudpickle.dumps(score(_OF_THREAD.worker, cloudpickle.loads(request)))


def _result(future: Any, job: Job) -> Scored:
    from distributed.client import FutureCancelledError
    from distributed.scheduler import KilledWorker

    try:
        return cloudpickle.loads(future.result())
    except UserError:
        raise
    except KilledWorker as error:
        reason = f"the Dask workers that computed it were lost: {one_line(error)}"
        return summarised(CellResult(job.cell, status="error", reason=reason[:300], lost=True))
    except (FutureCancelledError, OSError, TimeoutError) as error:
        raise UserError(f"the Dask scheduler was lost ({one_line(error)}); continue with --resume") from None
    except Exception as error:
        raise UserError(f"a Dask worker cannot compute what it was sent: {one_line(error)}") from None


def _wait_for_workers(client: Client, address: str) -> None:
    try:
        client.wait_for_workers(1, WORKER_SECONDS)
    except TimeoutError:
        raise UserError(f"no Dask worker came to {address} in {WORKER_SECONDS} s; start one, and --resume") from None
    except Exception as error:
        raise UserError(f"the Dask scheduler was lost ({one_line(error)}); continue with --resume") from None


def _connect(address: str) -> Client:
    try:
        from distributed import Client
    except ImportError:
        raise UserError("--scheduler needs Dask; install it with: pip install 'memformer-bench[dask]'") from None
    try:
        return Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except Exception as error:  # of the address, of the network, of Dask's configuration
        why = one_line(error)
    # A client that failed closes itself when it is collected. While another one starts, that would wait for ever.
    gc.collect()
    asks = "; tls:// needs certificates in Dask's configuration, distributed.comm.tls" * address.startswith("tls:")
    raise UserError(f"no Dask scheduler answers at {address!r}{asks}: {why}")
