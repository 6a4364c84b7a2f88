"""Tasks that a pool of processes and this process share: each takes the next when it has time."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, Future, wait
from typing import Generic

from chatdata.pipeline.engines import Result, Task

_AHEAD = 8  # tasks of a process whose results wait to be taken: what they write waits on the disk


class SharedTasks(Generic[Task, Result]):
    """The tasks of a function, of which this process takes the first and the pool the next.

    A process of the pool has one task at a time, so that no task waits for a process that is at
    work while another has nothing to do. Where results are taken more slowly than they are made,
    processes rest.
    """

    def __init__(
        self, pool: Executor, function: Callable[[Task], Result], tasks: Sequence[Task]
    ) -> None:
        self._pool, self._function = pool, function
        self._futures: deque[Future[Result]] = deque(Future() for _ in tasks)
        self._left = deque(zip(tasks, self._futures, strict=True))
        self._lock = threading.Lock()
        self._begun = self._used = self._resting = self._most = 0

    def results(self, processes: int) -> Iterator[Result]:
        """Yields the results in the order of the tasks, with so many processes of the pool.

        What a task raises is raised in the place of its result, when nobody is at work any more.
        """
        self._most = _AHEAD * (processes + 1)
        first = self._take()
        for _ in range(processes):
            self._send()
        self._work(first)
        while self._futures:  # a result is let go once it is taken
            future = self._futures.popleft()
            while not future.done() and self._work(self._take()):
                pass
            if future.exception() is not None:
                self.stop()
                wait(self._futures)
            yield future.result()
            self._wake()

    def stop(self) -> None:
        """Lets nobody take another task."""
        while taken := self._take():
            taken[1].cancel()
            taken[1].set_running_or_notify_cancel()  # or `wait` waits for it

    def _take(self) -> tuple[Task, Future[Result]] | None:
        """The next task, and the future of its result; None where none is left."""
        with self._lock, contextlib.suppress(IndexError):
            taken = self._left.popleft()
            self._begun += 1
            return taken
        return None

    def _work(self, taken: tuple[Task, Future[Result]] | None) -> bool:
        """Works on a task in this process. Returns whether there was one."""
        if taken is None:
            return False
        task, future = taken
        try:
            future.set_result(self._function(task))
        except Exception as error:
            self._fail(future, error)
        return True

    def _send(self) -> None:
        """Sends the next task to the pool, where there is one, and one more when it is done."""
        if self._rests() or (taken := self._take()) is None:
            return
        task, future = taken
        try:
            sent = self._pool.submit(self._function, task)
        except Exception as error:  # the pool has ended
            self._fail(future, error)
        else:
            sent.add_done_callback(functools.partial(self._receive, future))

    def _rests(self) -> bool:
        """Whether a process has to rest until more results are taken."""
        with self._lock:
            rests = self._begun - self._used >= self._most
            self._resting += rests
            return rests

    def _wake(self) -> None:
        """Lets processes go on, since a result was taken."""
        with self._lock:
            self._used += 1
            resting, self._resting = self._resting, 0
        for _ in range(resting):
            self._send()

    def _receive(self, future: Future[Result], sent: Future[Result]) -> None:
        """Takes in what the pool made of a task. Called in a thread of the pool."""
        if sent.cancelled():
            self._fail(future, CancelledError())
        elif (error := sent.exception()) is not None:
            self._fail(future, error)
        else:
            self._send()
            future.set_result(sent.result())

    def _fail(self, future: Future[Result], error: BaseException) -> None:
        self.stop()
        future.set_exception(error)
