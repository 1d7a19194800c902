"""Repo check: what the image's own Feast says of a feature repo, tried in the unpacked image."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bundler.effects import files
from bundler.effects.feature_repo import RepoContents
from bundler.effects.image_root import ImageRoot
from bundler.feast.deployment import topology
from bundler.feast.deployment.wiring import DATA_FOLDER, REPO_FOLDER
from bundler.feast.rules import missing_parts
from bundler.feast.stores.feature_store_yaml import FILE_NAME
from bundler.model import yaml_document
from bundler.model.descriptor import Json
from bundler.model.findings import Finding, Status
from bundler.model.platform import Platform
from bundler.model.spec import BundleSpec
from bundler.oci.image import Image
from bundler.steps.build.image_probe import ImageProbe
from bundler.steps.lock.project import Project
from bundler.steps.sources.unpacked_base import UnpackedBase

_CHECK: Final = "image-repo"
_TITLE: Final = "The image's own Feast loads feature_store.yaml and the definitions"
_PROBE: Final = "rehearsal/repo.py"
_LEAVE_OUT: Final = "Leave out what is not a definition: repo.exclude, or .feastignore."
_REMEDIES: Final[Mapping[str, str]] = {
    "syntax": f"Correct it for the Python of the image. {_LEAVE_OUT}",
    "exit": f"Definitions must only define. {_LEAVE_OUT}",
    "network": f"Definitions must not need a network. Move it into a function. {_LEAVE_OUT}",
    "import": f"`feast apply` imports every Python file of the repo. {_LEAVE_OUT}",
    "file": (
        "Put the file into the feature repo and write its path relative to the repo, or write a path on a volume of "
        "the deployment."
    ),
    "unimportable": "The definitions were not looked at. Correct first what the image cannot import.",
    "relative": (
        "Feast imports each file by its path from the repo's folder, which is not a package: write "
        "`from NAME import …`, and relative imports only inside of a folder of it."
    ),
    "variable": "Give it a default: os.environ.get(NAME, DEFAULT). `feast apply` runs with what the deployment sets.",
    "ignore": "Correct it: UTF-8, and a pattern of pathlib.Path.glob a line, relative to the repo.",
    "path": f"Rename it. {_LEAVE_OUT}",
    "shadowed": "Rename the file, and what imports it.",
    "chdir": "Definitions must not change it: the next ones are looked for there.",
    "pod": "That address means the pod itself. Write the one that the store has on the cluster.",
    "data": "Correct the definition, or the file.",
    "apply": "`feast apply` would end with this at the site.",
}
_REMEDY_OF_KEYS: Final = "Feast {release} forbids this key. Remove it, or correct its name."


@dataclass(frozen=True)
class Remark:
    """Something that the probe said: ``place`` is a file with its line, or a path in feature_store.yaml."""

    kind: str
    place: str
    what: str
    name: str


@dataclass(frozen=True)
class Verdict:
    """What Feast said of one repo: problems end the build, notes go into the checklist."""

    problems: tuple[Remark, ...]
    notes: tuple[Remark, ...]
    views: int

    def to_json(self) -> dict[str, Json]:
        """Return the verdict as a record of the cache."""
        return {
            "problems": [vars(remark) for remark in self.problems],
            "notes": [vars(remark) for remark in self.notes],
            "views": self.views,
        }

    @classmethod
    def from_json(cls, value: Json) -> Verdict:
        """Read a verdict; raise ``ValueError`` where it is malformed."""
        match value:
            case {"problems": list(problems), "notes": list(notes), "views": int(views)}:
                return cls(tuple(map(_remark, problems)), tuple(map(_remark, notes)), views)
        raise ValueError(f"not a verdict: {value!r:.100}")


def _remark(value: Json) -> Remark:
    match value:
        case {"kind": str(kind), "place": str(place), "what": str(what), "name": str(name)}:
            return Remark(kind, place, what, name)
    raise ValueError(f"not a remark: {value!r:.100}")


@dataclass(frozen=True)
class RepoTrial:
    """A feature repo in its image."""

    project: Project
    platform: Platform
    image: Image
    base: UnpackedBase
    repo: RepoContents

    @property
    def _probe(self) -> ImageProbe:
        asked = {
            "folder": REPO_FOLDER,
            "variables": list(self.repo.config.variables),
            "mounts": sorted({DATA_FOLDER, *mounts(self.project.spec)}),
        }
        return ImageProbe(
            _PROBE,
            json.dumps(asked),
            self.image.config.env,
            purpose=f"loading the feature repo {self.repo.folder}",
            silent="The image's Feast did not report on the feature repo.",
        )

    @property
    def key(self) -> str:
        """What the outcome depends on."""
        layers = (str(layer.diff_id) for layer in self.image.layers)
        return " ".join(("repo", *layers, *self._probe.key, self._probe.question))

    def tried(self, root: ImageRoot) -> Verdict:
        """Ask the image's Feast.

        Raises:
            ToolFailedError: the image's Python does not run, or gave no answer.
        """
        return self._probe.ask(root, self.base, Verdict.from_json)

    def lines(self, verdict: Verdict) -> Iterator[str]:
        """Yield each problem with its place on this machine and its remedy."""
        for problem in verdict.problems:
            what = problem.what.rstrip(".")
            yield f"{self.repo.folder / self._place(problem)}: {what}. {self._remedy(problem)}"

    def findings(self, verdict: Verdict) -> tuple[Finding, ...]:
        """Return what the checklist says of a repo without problems; places are those in the repo."""
        names = ", ".join(self.repo.config.variables)
        elsewhere = [note.what for note in verdict.notes if note.kind == "source"]
        evidence = (
            f"{self.platform}: {self.repo.folder.name}: {verdict.views} feature views",
            *([f"{FILE_NAME} was read with stand-ins for {names}"] if names else []),
            *elsewhere,
        )
        passed = Finding(_CHECK, _TITLE, Status.PASS, evidence)
        warnings = tuple(f"{self._place(note)}: {note.what}" for note in verdict.notes if note.kind != "source")
        if not warnings:
            return (passed,)
        remedy = "Make sure that the site has each, or change the definition."
        title = "The site has the hosts and files that the definitions use"
        return passed, Finding("image-repo.site", title, Status.MANUAL, warnings, remedy)

    def _place(self, remark: Remark) -> str:
        """Return the place below the repo: a file with its line, and in feature_store.yaml the key."""
        if remark.kind not in ("key", "ignored-key"):
            return remark.place
        path = tuple(int(step) if step.isdigit() else step for step in remark.place.split("."))
        return f"{FILE_NAME}:{self.repo.config.source.line(path)}: {yaml_document.dotted(path)}"

    def _remedy(self, remark: Remark) -> str:
        release = self.project.spec.feast.version
        match remark.kind:
            case "module":
                return self._beside(remark.name) or missing_parts.for_module(remark.name, release)
            case "name":
                return missing_parts.for_name(remark.name, remark.what, release)
            case "library":
                return missing_parts.for_library(remark.name, self.base.contents.os_release)
            case "key" if remark.name == "extra_forbidden":
                return _REMEDY_OF_KEYS.format(release=release)
            case "key":
                return f"Feast {release} does not start with it. Correct the value."
        return _REMEDIES.get(remark.kind, "")

    def _beside(self, name: str) -> str:
        """Say where a module of the developers' own lies, which Python does not find from the repo's folder."""
        top = name.partition(".")[0]
        if not top.isidentifier():
            return ""
        own = self.repo.folder
        if top == own.name:
            return f"That is the feature repo itself, whose folder Python starts from: leave {top!r} out of the import."
        for folder in dict.fromkeys((own, own / "src", own.parent, own.parent / "src", self.project.folder)):
            for place in (folder / top, folder / f"{top}.py"):
                if files.is_there(place):
                    return self._found_at(place, name)
        return ""

    def _found_at(self, place: Path, name: str) -> str:
        inside = place.is_relative_to(self.repo.folder)
        path = place.relative_to(self.repo.folder).as_posix() if inside else ""
        if any(f"{file.path}/".startswith((f"{path}/", path)) for file in self.repo.files if path):
            start = path.partition("/")[0]
            return f"It is {path}, and Python starts from the repo's folder: import {start}.{name}, or move it up."
        where = "is left out of the feature repo" if inside else "lies outside of it"
        return (
            f"{place} {where}. Move it into the feature repo, or make a package of it and name its folder "
            "in a requirement file: ./FOLDER."
        )


def mounts(spec: BundleSpec) -> Iterator[str]:
    """Yield the folders that volumes hide at the site."""
    for member in topology.members(spec):
        deployment = member.deployment
        stores = (deployment.online_store, deployment.offline_store, deployment.registry)
        yield from (store.volume.mount_path for store in stores if store.volume)
        servers = deployment.servers
        for server in (servers.online, servers.registry, servers.offline, servers.ui):
            for mount in server.volume_mounts if server else ():
                if isinstance(path := mount.get("mountPath"), str):
                    yield path
