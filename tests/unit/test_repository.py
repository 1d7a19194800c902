from __future__ import annotations

import pytest

from bundler.errors import SpecError
from bundler.feast.rules import repository


def test_sources_that_compile_are_no_problem() -> None:
    repository.check_sources({"a.py": b"# -*- coding: latin-1 -*-\nx = '\xe9'\n", "b.py": b"\xef\xbb\xbfx = '\\d'\n"})


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"ok = 1\ndef (:\n", 2),
        (b"ok = 1\n\tx = 2\n", 2),
        (b"x = '\0'\n", 1),
        (b"x = '\xe9'\n", 1),
        (b"# -*- coding: klingon -*-\n", 1),
        (b"return 1\n", 1),
        (b"x = 1\nawait f()\n", 2),
        (b"(" * 300, 1),
        (b"x = " + b"-" * 100_000 + b"1\n", 1),
        (b"x = x" + b"+x" * 100_000, 1),
    ],
)
def test_a_source_that_does_not_compile_is_named_with_its_line(content: bytes, line: int) -> None:
    with pytest.raises(SpecError) as caught:
        repository.check_sources({"good.py": b"", "bad.py": content})
    (detail,) = caught.value.details
    assert detail.startswith(f"bad.py:{line}: ")


def test_every_source_that_does_not_compile_is_named_in_order() -> None:
    with pytest.raises(SpecError, match="2 files of the feature repo do not compile") as caught:
        repository.check_sources({"b.py": b"(", "a.py": b"("})
    assert [detail.partition(":")[0] for detail in caught.value.details] == ["a.py", "b.py"]
