"""Workers that see none of the files of the build, and hold all that travels as bytes."""

from __future__ import annotations

import contextlib
import pickle
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from chatdata.pipeline import encoders, shipping


class Elsewhere:
    """Runs tasks in scratch folders below `nodes`, while the folder `hidden` has another name."""

    number = 1

    def __init__(self, nodes: Path, hidden: Path) -> None:
        self._nodes, self._hidden = nodes, hidden
        self._tokenizers = encoders._ProcessCache()  # none that the first process has loaded
        self._places: dict[shipping.Shared, Path] = {}
        self._left: dict[str, shipping.Content] = {}
        self.left = set[str]()  # the names of all files that tasks have ever left
        self.tasks = 0

    @contextlib.contextmanager
    def start(self, name: str, workers: int) -> Iterator[Elsewhere]:
        """In the place of `engines.start`."""
        yield self

    def map(self, function: Any, tasks: Sequence[Any]) -> Iterator[Any]:
        """Yields the results of tasks, each run where its files are not."""
        for task in tasks:
            yield self._done(function, task)

    write = map

    def _done(self, function: Any, task: Any) -> Any:
        known, key = function.known(task)
        if known is not None:
            return known
        self.tasks += 1
        result, made = self._run(function, task, function.parcel(task))
        self._left |= {name: made.pop(name) for name in function.leaves(task) if name in made}
        self.left |= self._left.keys()
        return function.arrived(task, key, result, made)

    def map_here(self, function: Any, tasks: Sequence[Any]) -> Iterator[Any]:
        """Yields the results of tasks that need the files of this process."""
        return map(function, tasks)

    def submit(self, function: Callable[[Any], Any], task: Any) -> Future[Any]:
        """The future of a task, which is done where its files are not if it can travel."""
        done: Future[Any] = Future()
        travels = hasattr(function, "parcel")
        done.set_result(self._done(function, task) if travels else function(task))
        return done

    def remove(self, path: Path) -> None:
        """Removes what a task has left, or a file of this process."""
        self._left.pop(path.name, None)
        path.unlink(missing_ok=True)

    def _run(self, function: Any, task: Any, parcel: shipping.Parcel) -> Any:
        places = {item: self._place(item) for item in parcel.shared}
        left = [shipping.Piece(n, self._left[n]) for n in parcel.left if n in self._left]
        travels = pickle.dumps((function, places, task, [*parcel.pieces, *left]))
        away = self._hidden.rename(self._hidden.with_name("away"))
        try:
            scratch_folder = tempfile.TemporaryDirectory(dir=self._nodes)
            with scratch_folder as scratch, pytest.MonkeyPatch.context() as patch:
                patch.setattr(encoders, "_CACHE", self._tokenizers)
                moved, places, task, pieces = pickle.loads(travels)
                given = shipping.unpack(pieces, Path(scratch))
                result = moved.there(Path(scratch), places, task)
                made = shipping.collect(Path(scratch), given)
                return pickle.loads(pickle.dumps((result, made)))
        finally:
            away.rename(self._hidden)

    def _place(self, item: shipping.Shared) -> Path:
        if item not in self._places:
            contents = {name: [shipping.content(item.root / name)] for name in item.names}
            home = self._nodes / str(len(self._places))
            self._places[item] = shipping.place(home, contents)
        return self._places[item]
