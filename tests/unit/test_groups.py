from __future__ import annotations

from bundler.model.lock import LockedWheel
from bundler.wheels.groups import group


def locked(name: str, size: int = 10) -> LockedWheel:
    filename = f"{name.replace('-', '_')}-1-py3-none-any.whl"
    return LockedWheel(name=name, version="1", filename=filename, size=size, sha256="0" * 64)


def names(*wheels: LockedWheel, requested: frozenset[str] = frozenset()) -> list[list[str]]:
    return [[one.name for one in part.wheels] for part in group(wheels, requested)]


def test_big_wheels_get_a_layer_each_and_feast_comes_last() -> None:
    wheels = [locked("feast", 50_000_000), locked("small"), locked("pandas", 13_000_000), locked("arrow", 40_000_000)]
    assert names(*wheels) == [["arrow"], ["pandas"], ["small"], ["feast"]]


def test_what_the_spec_asks_for_is_apart_from_what_came_with_it() -> None:
    wheels = [locked("b-dependency"), locked("asked"), locked("feast"), locked("a-dependency")]
    requested = frozenset({"asked", "feast"})
    assert names(*wheels, requested=requested) == [["a-dependency", "b-dependency"], ["feast"], ["asked"]]


def test_only_so_many_big_wheels_get_a_layer_of_their_own() -> None:
    wheels = [locked(f"big-{number:02}", 20_000_000 + number) for number in range(20)]
    groups = names(*wheels)
    assert len(groups) == 9
    assert groups[0] == ["big-19"]
    assert groups[-1] == sorted(groups[-1])


def test_the_groups_do_not_depend_on_the_order_of_the_wheels() -> None:
    wheels = [locked("b"), locked("a"), locked("c", 20_000_000), locked("d", 20_000_000)]
    assert group(wheels) == group(wheels[::-1])


def test_nothing_becomes_no_layer() -> None:
    assert group([]) == ()
