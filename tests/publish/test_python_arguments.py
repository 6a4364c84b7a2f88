"""Public functions of Python: what they are given of another type, or where they cannot run."""

from __future__ import annotations

import inspect
import multiprocessing
import os
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import chatdata as cd
from chatdata.core import forks
from chatdata.core.arguments import checked
from chatdata.core.errors import ArgumentError, EngineError

FUNCTIONS = sorted(name for name in cd.__all__ if inspect.isfunction(getattr(cd, name)))
PARAMETERS = [(f, p) for f in FUNCTIONS for p in inspect.signature(getattr(cd, f)).parameters]


@pytest.mark.parametrize(("name", "parameter"), PARAMETERS)
def test_every_parameter_names_a_value_of_another_type(name: str, parameter: str) -> None:
    """Before anything is done. None, and a number, were names of folders."""
    function = getattr(cd, name)
    needed = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    others = {p.name: 1 if p.annotation == "int" else "x" for p in needed if p.name != parameter}
    for value in (object(), 1.5, b"x"):
        words = rf"^{name}: '{parameter}' is {re.escape(repr(value)[:60])}.*; give .*\.$"
        with pytest.raises(ArgumentError, match=words):
            function(**others, **{parameter: value})


def takes(
    place: str | Path, items: list[str] | None = None, count: int = 1, flag: bool = False
) -> Any:
    """Something."""
    return place, items, count, flag


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"place": None}, "f: 'place' is None; give a text or a Path."),
        ({"place": "x", "count": "2"}, "f: 'count' is '2'; give a whole number."),
        ({"place": "x", "count": True}, "f: 'count' is True; give a whole number."),
        ({"place": "x", "flag": 1}, "f: 'flag' is 1; give True or False."),
        ({"place": ["x"] * 99}, f"f: 'place' is {str(['x'] * 99)[:60]}...; give a text or a Path."),
    ],
)
def test_the_sentence_has_the_thing_the_value_and_the_way_out(
    arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(ArgumentError) as raised:
        checked(takes, __name__, "f")(**arguments)
    assert str(raised.value) == words


def test_lists_of_texts_are_no_text_and_have_no_paths() -> None:
    words = r"^load_recipe: 'settings' is .*; give a list of which each is a text\.$"
    for settings in ("split=null", [3], {"split": None}.items()):
        with pytest.raises(ArgumentError, match=words):
            cd.load_recipe("sample", settings)  # type: ignore[arg-type]


def test_what_goes_for_a_type_is_taken() -> None:
    f = checked(takes, __name__, "f")
    assert f(Path("x"), count=np.int64(3)) == (Path("x"), None, 3, False)
    with pytest.raises(TypeError, match=r"takes\(\) got an unexpected keyword argument 'z'"):
        f("x", z=1)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_public_function_travels_to_a_process_by_its_name(name: str) -> None:
    function = getattr(cd, name)
    assert pickle.loads(pickle.dumps(function)) is function
    assert (function.__module__, function.__qualname__) == ("chatdata", name)


def test_a_fork_behind_the_threads_of_polars_is_refused_and_does_not_hang() -> None:
    pl.DataFrame({"a": [1]}).lazy().select(pl.col("a").sort()).collect()  # starts them
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_tell, args=(sender,))
    process.start()
    assert receiver.poll(100)
    told = receiver.recv()
    process.join()
    assert told.startswith("build_dataset: this process was forked after its parent had used Pol")
    forks.check("build_dataset")  # not refused here


def _tell(sender: Any) -> None:
    try:
        cd.build_dataset("sample", os.devnull)
    except EngineError as error:
        sender.send(str(error))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"workers": 0}, "there cannot be 0 workers; give at least 1"),
        ({"engine": "dask"}, "there is no engine 'dask'; known: local, ray"),
    ],
)
def test_workers_that_cannot_be(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=words):
        cd.build_dataset("sample", tmp_path / "out", **options)
    assert not list(tmp_path.iterdir())


def test_a_process_of_a_pool_starts_no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    from chatdata.pipeline import engines

    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)  # type: ignore[attr-defined]
    with pytest.raises(EngineError, match=r"a multiprocessing.Pool cannot start 2 workers; give 1"):
        engines.start("local", 2)
