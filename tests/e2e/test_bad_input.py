"""Bad input ends with one clear error, the right exit code and no traceback."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Built, Ran, bundler, copy_example, seed

pytestmark = pytest.mark.e2e


Build = Callable[..., Ran]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return copy_example(tmp_path)


@pytest.fixture
def build(project: Path, built: Built) -> Build:
    """Build the project with the cache that the good build has filled."""

    def run(*extra: str | Path, **environment: str) -> Ran:
        return bundler(
            *("build", "-f", project / "bundle.yaml", "-o", project.parent / "dist", "--cache-dir", built.cache),
            *extra,
            environment=environment,
        )

    return run


def assert_refused(ran: Ran, status: int, *said: str) -> None:
    assert ran.status == status, ran.stderr
    assert "Traceback" not in ran.stderr
    assert len(re.findall("^error: ", ran.stderr, re.MULTILINE)) == 1, ran.stderr
    for text in said:
        assert re.search(text, ran.stderr), (text, ran.stderr)


def edit(file: Path, change: Callable[[str], str]) -> None:
    before = file.read_text()
    after = change(before)
    assert before != after
    file.write_text(after)


def test_a_misspelt_key_is_named_with_its_line_and_the_right_spelling(project: Path, build: Build) -> None:
    edit(project / "bundle.yaml", lambda text: text.replace("requirements:", "requirments:"))
    assert_refused(build(), 3, r"bundle\.yaml:\d+", "requirments", "did you mean.*requirements")


def test_a_credential_in_the_repo_is_refused_before_anything_is_fetched(project: Path, build: Build) -> None:
    edit(
        project / "feature_repo" / "feature_store.yaml",
        lambda text: text.replace("password=${REDIS_PASSWORD}", "password=hunter2"),
    )
    ran = build()
    assert_refused(ran, 3, r"feature_store\.yaml:\d+: online_store\.connection_string", r"\$\{VARIABLE\}")
    assert "hunter2" not in ran.stderr
    assert "Resolving" not in ran.stderr


def test_a_missing_repo_is_named(project: Path, build: Build) -> None:
    (project / "feature_repo").rename(project / "elsewhere")
    assert_refused(build(), 3, "feature_repo")


def test_a_repo_without_feature_store_yaml_is_refused(project: Path, build: Build) -> None:
    (project / "feature_repo" / "feature_store.yaml").unlink()
    assert_refused(build(), 3, r"feature_store\.yaml")


def test_python_that_does_not_parse_is_named_with_its_line(project: Path, build: Build) -> None:
    (project / "feature_repo" / "broken.py").write_text("x = 1\ndef (:\n")
    assert_refused(build(), 3, r"broken\.py:2")


def test_an_unknown_store_type_is_named(project: Path, build: Build) -> None:
    edit(project / "feature_repo" / "feature_store.yaml", lambda text: text.replace("type: redis", "type: rediss"))
    assert_refused(build(), 3, "rediss", "redis")


def test_a_link_out_of_the_repo_is_refused(project: Path, build: Build) -> None:
    (project / "feature_repo" / "secrets.txt").symlink_to("/etc/passwd")
    assert_refused(build(), 3, r"secrets\.txt")


def test_a_repo_path_that_escapes_the_project_is_refused(project: Path, build: Build) -> None:
    (project / "feature_repo" / "data").rename(project / "data")
    (project / "feature_repo" / "data").symlink_to("../data")
    assert_refused(build(), 3, "data")


def test_conflicting_requirements_are_explained(project: Path, build: Build) -> None:
    (project / "requirements.txt").write_text("pandas>=2\npandas<2\n")
    assert_refused(build(), 3, "pandas")


def test_an_unreachable_index_is_named(project: Path, build: Build) -> None:
    ran = build(UV_DEFAULT_INDEX="http://127.0.0.1:9/simple", UV_NO_CACHE="1", UV_HTTP_RETRIES="0")
    assert_refused(ran, 7, r"127\.0\.0\.1:9")


def test_an_output_folder_that_is_none_is_refused_before_the_long_work(project: Path, build: Build) -> None:
    # Root may write anywhere; a file in the folder's place is refused to everybody.
    (project.parent / "dist").write_text("")
    assert_refused(build(), 5, "dist")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 40 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(folder)], check=False, capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"mounting a small file system needs root: {mounted.stderr}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_named_and_nothing_half_written_stays(project: Path, built: Built, small_disk: Path) -> None:
    ran = bundler("build", "-f", project / "bundle.yaml", "-o", small_disk / "dist", "--cache-dir", built.cache)
    assert_refused(ran, 5, str(small_disk), "space")
    assert not list((small_disk / "dist").iterdir())


def test_a_read_only_output_folder_is_named(project: Path, built: Built, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    ran = bundler("build", "-f", project / "bundle.yaml", "-o", small_disk / "dist", "--cache-dir", built.cache)
    assert_refused(ran, 5, str(small_disk), "Read-only")


def test_a_full_cache_disk_is_named(project: Path, built: Built, small_disk: Path) -> None:
    seed(built, small_disk)
    ran = bundler("build", "-f", project / "bundle.yaml", "-o", project.parent / "dist", "--cache-dir", small_disk)
    assert_refused(ran, 5, "No space left|space")
    assert not list((project.parent / "dist").glob("*.tar"))


def test_a_store_of_the_sites_own_is_looked_for_in_the_image_and_in_the_repo(
    project: Path, build: Build, tmp_path: Path
) -> None:
    # A class that no table can know.
    edit(
        project / "feature_repo" / "feature_store.yaml",
        lambda text: re.sub(r"type: redis", "type: ours.OurOnlineStore", text),
    )
    edit(project / "requirements.txt", lambda text: f"{text}redis\n")
    ran = build()
    assert_refused(ran, 3, "Nothing was packed", r"ours")
    assert not list((tmp_path / "dist").glob("*.tar*"))

    (project / "feature_repo" / "ours.py").write_text(
        "from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig\n\n\n"
        "class OurOnlineStore(RedisOnlineStore):\n    pass\n\n\n"
        "class OurOnlineStoreConfig(RedisOnlineStoreConfig):\n    type: str = 'ours.OurOnlineStore'\n"
    )
    (project / "bundle.lock").unlink(missing_ok=True)
    ran = build()
    assert ran.status == 0, ran.stderr


@pytest.mark.parametrize(
    ("change", "options", "status", "said"),
    [
        (("  namespace: feast\n", "  namespace: feast\n  topology: standard\n"), (), 3, "deployment.ingress"),
        (("", ""), ("--sign-key", "missing.pem"), 2, "missing.pem"),
    ],
)
def test_what_would_be_refused_after_the_bake_is_refused_before_anything_is_fetched(
    change: tuple[str, str], options: tuple[str, ...], status: int, said: str, tmp_path: Path
) -> None:
    project = copy_example(tmp_path)
    spec = project / "bundle.yaml"
    assert change[0] in spec.read_text()
    spec.write_text(spec.read_text().replace(*change, 1))
    cache = tmp_path / "cache"
    ran = bundler("build", "-f", spec, "-o", tmp_path / "dist", "--cache-dir", cache, *options)
    assert ran.status == status, ran.stderr
    assert said in ran.stderr
    assert not [*cache.rglob("sha256/*")]


def test_a_mirror_configuration_that_no_bundle_can_hold_is_refused_before_anything_is_fetched(
    project: Path, build: Build
) -> None:
    long = f"{'.'.join(['a' * 60] * 4)}.example:5000"
    edit(project / "bundle.yaml", lambda text: f'{text}\nimages: ["{long}/team/app:1.0"]\n')
    for extra in ((), ("--dry-run",)):
        assert_refused(build(*extra), 3, "mirrors/containerd/aaaa", "mirrors")


def test_two_images_of_one_internal_name_are_refused_before_anything_is_fetched(project: Path, build: Build) -> None:
    images = '["one.example:5000/team/app:1.0", "two.example:5000/team/app:1.0"]'
    edit(project / "bundle.yaml", lambda text: f"{text}\nimages: {images}\n")
    for extra in ((), ("--dry-run",)):
        assert_refused(build(*extra), 3, "one.example:5000/team/app:1.0 and two.example", "registry.rules")
