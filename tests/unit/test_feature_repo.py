from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path

import pytest

from bundler.effects import feature_repo
from bundler.errors import SpecError
from bundler.model.spec import FeatureRepoSpec

YAML = """\
project: fraud
registry: /feast-data/registry.db
online_store:
  type: redis
  connection_string: ${REDIS_HOST}:6379,password=$REDIS_PASSWORD  # not ${THIS}
# nor ${THAT}
"""


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "feature_repo"
    folder.mkdir()
    (folder / "feature_store.yaml").write_text(YAML)
    (folder / "views.py").write_text("x = 1\n")
    return folder


def names(folder: Path, **rules: tuple[str, ...]) -> list[str]:
    return [file.path for file in feature_repo.read(folder, FeatureRepoSpec(**rules)).files]  # type: ignore[arg-type]


def refusal(folder: Path) -> SpecError:
    with pytest.raises(SpecError) as caught:
        feature_repo.read(folder, FeatureRepoSpec())
    return caught.value


def test_caches_version_control_and_secrets_are_left_out(repo: Path) -> None:
    left_out = (".git/config", "__pycache__/views.cpython-311.pyc", ".env", ".env.local", "tls.key", ".venv/bin/python")
    for name in (*left_out, "sub/.git", "sub/.netrc", "x.egg-info/PKG-INFO", ".views.py.swp"):
        (repo / name).parent.mkdir(exist_ok=True, parents=True)
        (repo / name).write_text("")
    assert names(repo) == ["feature_store.yaml", "views.py"]


def test_patterns_of_the_spec_and_of_the_ignore_file_are_those_of_gitignore(repo: Path) -> None:
    (repo / "notebooks").mkdir()
    (repo / "notebooks" / "a.ipynb").write_text("")
    (repo / "notes.md").write_text("")
    (repo / "keep.md").write_text("")
    (repo / ".bundlerignore").write_text("*.md\n!keep.md\n")
    assert names(repo, exclude=("notebooks/",)) == ["feature_store.yaml", "keep.md", "views.py"]
    assert names(repo, include=("*.yaml",)) == ["feature_store.yaml"]


def test_the_fingerprint_depends_on_content_names_and_executability_alone(repo: Path, tmp_path: Path) -> None:
    before = feature_repo.read(repo, FeatureRepoSpec()).fingerprint
    moved = repo.rename(tmp_path / "moved")
    os.utime(moved / "views.py", (1, 1))
    (moved / "views.py").chmod(0o600)
    assert feature_repo.read(moved, FeatureRepoSpec()).fingerprint == before
    (moved / "views.py").chmod(0o755)
    assert feature_repo.read(moved, FeatureRepoSpec()).fingerprint != before


def test_a_link_inside_the_repo_is_baked_as_the_file_it_names(repo: Path) -> None:
    (repo / "alias.py").symlink_to("views.py")
    contents = feature_repo.read(repo, FeatureRepoSpec())
    assert {file.path: file.source.name for file in contents.files}["alias.py"] == "views.py"


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside.py", "nothing", "folder", "alias.py"])
def test_a_link_to_anything_else_is_refused(repo: Path, target: str) -> None:
    (repo.parent / "outside.py").write_text("")
    (repo / "folder").mkdir()
    (repo / "alias.py").symlink_to(target)
    assert "alias.py is a link to" in refusal(repo).problem


def test_a_folder_that_is_a_link_is_refused_and_can_be_left_out(repo: Path) -> None:
    (repo.parent / "outside").mkdir()
    (repo / "folder").symlink_to(repo.parent / "outside")
    assert "folder is a link to" in refusal(repo).problem
    assert names(repo, exclude=("folder",)) == ["feature_store.yaml", "views.py"]


@pytest.mark.parametrize("target", [".env", ".git/config"])
def test_a_link_does_not_let_in_what_is_left_out(repo: Path, target: str) -> None:
    (repo / ".git").mkdir()
    (repo / target).write_text("secret")
    (repo / "innocent.txt").symlink_to(target)
    assert "which is left out of the bundle" in refusal(repo).problem


def test_a_pattern_can_let_in_what_is_left_out_otherwise(repo: Path) -> None:
    (repo / "authority.pem").write_text("")
    (repo / ".bundlerignore").write_text("!authority.pem\n")
    assert names(repo) == ["authority.pem", "feature_store.yaml", "views.py"]


def test_spec_and_lock_beside_the_repos_files_are_no_part_of_it(repo: Path) -> None:
    before = feature_repo.read(repo, FeatureRepoSpec()).fingerprint
    (repo / "wheels").mkdir()
    (repo / "dist").mkdir()
    for name in (
        "bundle.yaml",
        "bundle.lock",
        ".bundle.lock.x.part",
        "wheels/a-1-py3-none-any.whl",
        "dist/a-1.bundle.tar",
    ):
        (repo / name).write_text("x")
    assert feature_repo.read(repo, FeatureRepoSpec()).fingerprint == before


def test_feasts_own_ignore_file_is_baked(repo: Path) -> None:
    (repo / ".feastignore").write_text("notebooks\n")
    assert ".feastignore" in names(repo)


@pytest.mark.parametrize(
    ("name", "reason"),
    [(b"caf\xe9.txt", "is not UTF-8"), (b"a\nb.txt", "control character"), (b"a\x1b[31m.txt", "control character")],
)
def test_a_name_that_breaks_what_shows_it_is_refused(repo: Path, name: bytes, reason: str) -> None:
    (Path(os.fsdecode(bytes(repo) + b"/" + name))).write_text("")
    error = refusal(repo)
    assert reason in error.problem
    error.problem.encode()  # can be shown


def test_a_pipe_or_a_socket_is_refused(repo: Path) -> None:
    os.mkfifo(repo / "pipe")
    assert "pipe is not a regular file" in refusal(repo).problem
    (repo / "pipe").unlink()
    os.mknod(repo / "socket", stat.S_IFSOCK | 0o600)
    assert "socket is not a regular file" in refusal(repo).problem


def test_what_cannot_be_read_is_named(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: object) -> object:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", denied)  # root reads everything
    assert refusal(repo).problem == f"{repo} cannot be read: Permission denied."


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    assert "nowhere is not a folder" in refusal(tmp_path / "nowhere").problem


def test_a_repo_without_feature_store_yaml_is_refused(repo: Path) -> None:
    (repo / "feature_store.yaml").unlink()
    assert "does not contain feature_store.yaml" in refusal(repo).problem


def test_a_feature_store_yaml_that_is_no_text_is_refused_with_its_line(repo: Path) -> None:
    (repo / "feature_store.yaml").write_bytes(b"project: a\nregistry: \xff\n")
    assert "feature_store.yaml:2: is not UTF-8" in refusal(repo).problem
    (repo / "feature_store.yaml").write_bytes(b"#" * (2 << 20))
    assert "has more than 1048576 bytes" in refusal(repo).problem


@pytest.mark.parametrize("place", ["repo.include", "repo.exclude", ".bundlerignore"])
def test_a_pattern_that_cannot_be_read_is_refused_by_its_place(repo: Path, place: str) -> None:
    if place == ".bundlerignore":
        (repo / place).write_text("*.md\n!\n")
        rules = {}
    else:
        rules = {place.removeprefix("repo."): ("!",)}
    with pytest.raises(SpecError, match=rf"^{re.escape(place)}: a pattern cannot be read"):
        names(repo, **rules)


def test_python_that_does_not_compile_is_read_all_the_same_as_only_the_image_can_judge_it(repo: Path) -> None:
    (repo / "a.py").write_text("ok = 1\ndef (:\n")
    assert feature_repo.read(repo, FeatureRepoSpec()).sources()["a.py"] == b"ok = 1\ndef (:\n"


def test_sources_are_the_files_that_feast_apply_imports(repo: Path) -> None:
    (repo / ".feastignore").write_text("# drafts\ndrafts\n*_old.py  # replaced\n/absolute\n")
    (repo / "drafts" / "inner").mkdir(parents=True)
    for name in ("drafts/inner/a.py", "b_old.py", "c.py"):
        (repo / name).write_text("def (:\n")
    contents = feature_repo.read(repo, FeatureRepoSpec())
    assert "c.py" in contents.sources()
    assert not {"drafts/inner/a.py", "b_old.py"} & set(contents.sources())
    assert {"drafts/inner/a.py", "b_old.py", "c.py"} <= {file.path for file in contents.files}


@pytest.mark.parametrize("change", ["other", "longer than before", "", None])
def test_a_file_that_is_changed_while_the_bundle_is_built_is_not_baked(tmp_path: Path, change: str | None) -> None:
    folder = repo_of(tmp_path)
    file = next(one for one in feature_repo.read(folder, FeatureRepoSpec()).files if one.path == "defs.py")
    assert file.opened().read() == b"first"
    if change is None:
        file.source.unlink()
    else:
        file.source.write_text(change)
    with pytest.raises(SpecError, match=r"defs\.py (was changed|cannot be read any more)"):
        file.opened().read()


def repo_of(folder: Path) -> Path:
    (folder / "feature_store.yaml").write_text("project: p\nregistry: r.db\n")
    (folder / "defs.py").write_text("first")
    return folder
