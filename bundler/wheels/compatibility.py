"""Which wheels run in an image: its Python, C library and processor, as wheel tags and environment markers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from packaging.markers import Marker
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import BuildTag, InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version

from bundler.model.platform import Platform

_OLDEST_GLIBC_MINOR = 5  # manylinux1; older wheels do not exist
_LEGACY = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}


@dataclass(frozen=True)
class ImagePython:
    """The Python of an image: ``version`` as (3, 11), ``full_version`` as "3.11.2", ``glibc`` as (2, 36)."""

    version: tuple[int, int]
    full_version: str
    glibc: tuple[int, int]
    platform: Platform

    @property
    def uv_platform(self) -> str:
        """The platform as uv's ``--python-platform`` names it.

        uv knows a fixed list of manylinux names; the newest that the image's C library satisfies is chosen.
        """
        known = (40, 39, 38, 37, 36, 35, 34, 33, 32, 31, 28, 17)
        minor = next((minor for minor in known if minor <= self.glibc[1]), known[-1])
        name = "manylinux2014" if minor == known[-1] else f"manylinux_2_{minor}"
        return f"{self.platform.machine}-{name}"

    def tags(self) -> tuple[Tag, ...]:
        """Return the tags that run, best first (PEP 425, PEP 600)."""
        platforms = list(self._platforms())
        abi = f"cp{self.version[0]}{self.version[1]}"  # else that of the Python that runs this
        return (
            *cpython_tags(self.version, abis=[abi], platforms=platforms),
            *compatible_tags(self.version, abi, platforms),
        )

    def _platforms(self) -> Iterator[str]:
        machine = self.platform.machine
        for minor in range(self.glibc[1], _OLDEST_GLIBC_MINOR - 1, -1):
            yield f"manylinux_2_{minor}_{machine}"
            if minor in _LEGACY:
                yield f"{_LEGACY[minor]}_{machine}"
        yield f"linux_{machine}"

    def satisfies(self, marker: str | None) -> bool:
        """Evaluate an environment marker (PEP 508) as the image's Python would."""
        if not marker:
            return True
        environment = {
            "implementation_name": "cpython",
            "implementation_version": self.full_version,
            "os_name": "posix",
            "platform_machine": self.platform.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": self.full_version,
            "python_version": f"{self.version[0]}.{self.version[1]}",
            "sys_platform": "linux",
        }
        return Marker(marker).evaluate(environment)

    def best(self, filenames: tuple[str, ...]) -> str | None:
        """Return the wheel that pip would choose among files of one release, or None where none runs."""
        rank = {tag: position for position, tag in enumerate(self.tags())}
        # Best tag first, then the latest build (PEP 427); the name only makes the order total.
        candidates: list[tuple[int, BuildTag, str]] = []
        for filename in filenames:
            try:
                _, _, build, tags = parse_wheel_filename(filename)
            except InvalidWheelFilename:
                continue
            ranks = [rank[tag] for tag in tags if tag in rank]
            if ranks:
                candidates.append((-min(ranks), build, filename))
        return max(candidates)[-1] if candidates else None

    def newest(self, filenames: tuple[str, ...]) -> Mapping[str, str]:
        """Return normalised name -> newest version of those wheels that run."""
        versions: dict[str, Version] = {}
        for filename in filenames:
            if self.best((filename,)) is not None:
                name, version, *_ = parse_wheel_filename(filename)
                versions[name] = max(version, versions.get(name, version))
        return {name: str(version) for name, version in versions.items()}
