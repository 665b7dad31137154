"""Threads that do work in batches of whatever waits at the moment."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class Batches:
    """Calls `work` with up to `most` of the jobs that wait, in the order in which they came, on so many threads.

    No job waits for others to come: a batch is what has gathered while the threads were busy. `work` returns a result
    for each job. A job whose future was cancelled before its batch begins is dropped. `begin` begins each thread; all
    of them are there when this returns.
    """

    def __init__(
        self, work: Callable[[Sequence[Any]], Sequence[Any]], most: int, threads: int, begin: Callable[[], object]
    ) -> None:
        self._work, self._most = work, most
        self._waiting: deque[tuple[Any, Future[Any]]] = deque()
        self._pool = ThreadPoolExecutor(threads, "predicting", initializer=begin)
        together = threading.Barrier(threads)
        list(self._pool.map(lambda _: together.wait(), range(threads)))

    def submit(self, job: Any) -> Future[Any]:
        """Returns the future of a job's result."""
        future: Future[Any] = Future()
        self._waiting.append((job, future))
        self._pool.submit(self._look)  # finds nothing where a batch before took this one along
        return future

    def close(self) -> None:
        """Ends the threads, once the batches that have begun are done; the rest is cancelled."""
        self._pool.shutdown(cancel_futures=True)
        while self._waiting:
            self._waiting.popleft()[1].cancel()

    def _look(self) -> None:
        taken = []
        while len(taken) < self._most:
            try:
                job, future = self._waiting.popleft()
            except IndexError:
                break
            if future.set_running_or_notify_cancel():
                taken.append((job, future))
        if not taken:
            return
        try:
            results = self._work([job for job, _ in taken])
        except BaseException as error:  # whoever waits is to hear of it
            for _, future in taken:
                future.set_exception(error)
            return
        for (_, future), result in zip(taken, results, strict=True):
            future.set_result(result)
