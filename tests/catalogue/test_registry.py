"""The registry: names, lazy loading, duplicates, suggestions, entry points."""

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from benchmarks.catalogue import registry
from benchmarks.catalogue.registry import Registry, RegistryError


def fruits() -> Registry:
    fruit = Registry("fruit", group="memformer_bench.tests.nothing")
    fruit.add("apple", "no.such.module:Apple", "a lazy apple")
    fruit.add("date", "datetime:date", year=2024, month=1)
    return fruit


def test_targets_are_imported_only_when_used() -> None:
    fruit = fruits()
    assert list(fruit) == ["apple", "date"]
    with pytest.raises(ModuleNotFoundError):
        fruit["apple"].load()


def test_defaults_give_way_to_the_caller() -> None:
    assert fruits().create("date", day=7).isoformat() == "2024-01-07"
    assert fruits().create("date", day=7, month=2).isoformat() == "2024-02-07"


def test_a_taken_name_is_refused_and_stays_what_it_was() -> None:
    fruit = fruits()
    with pytest.raises(RegistryError, match=r"'apple' is already registered \(built in\)"):
        fruit.add("apple", "datetime:time")
    assert fruit["apple"].target == "no.such.module:Apple"


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(RegistryError, match="unknown fruit 'aple'; did you mean 'apple'"):
        fruits()["aple"]
    with pytest.raises(RegistryError, match="list fruits"):
        fruits()["zzzzzz"]


def test_another_package_adds_its_own_through_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("plum", "datetime:timedelta", "some.group")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == "some.group" else [])
    fruit = Registry("fruit", group="some.group")
    assert "plum" in fruit
    assert fruit.create("plum", days=2).days == 2


def test_what_comes_with_the_project_is_there_on_first_use_and_its_names_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "built_in.toml"
    monkeypatch.setattr(registry, "BUILT_IN", file)
    fruit = Registry("fruit", "memformer_bench.tests.nothing", "fruits")
    for _ in range(2):  # a file that is not there is never taken for an empty registry
        with pytest.raises(FileNotFoundError):
            list(fruit)
    file.write_text('[fruits]\ndate = ["datetime:date", "a date", { year = 2024, month = 1 }]\n[nuts]\nbrazil = []\n')
    with pytest.raises(RegistryError, match="already registered"):
        fruit.add("date", list)
    assert list(fruit) == ["date"]
    assert fruit["date"].summary == "a date"
    assert fruit.create("date", day=7).isoformat() == "2024-01-07"
