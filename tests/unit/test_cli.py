from __future__ import annotations

import io
import json
import os
import pwd
import re
import shlex
import tempfile
from pathlib import Path

import click
import pytest

from bundler import __version__
from bundler.cli import cache_options, console, program, progress
from bundler.effects.packages.index import PackageIndexes
from bundler.errors import BundlerError, ExitCode, SpecError, UsageError
from bundler.model.size import size
from bundler.steps.transport import push_by_skopeo
from bundler.steps.transport.push import PushOptions

ROOT = Path(__file__).resolve().parents[2]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        program.main(list(arguments))
    out, err = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, out, err


def test_every_exit_code_is_unique_and_documented() -> None:
    documented = re.findall(r"^\| (\d) \|", (ROOT / "docs/exit-codes.md").read_text(), re.MULTILINE)
    assert [int(code) for code in documented] == sorted(ExitCode)
    classes: list[type[BundlerError]] = [BundlerError, *BundlerError.__subclasses__()]
    assert all(isinstance(one.exit_code, ExitCode) for one in classes)


def test_help_lists_the_commands_and_teaches_the_two_sides(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "--help")
    assert status == 0
    for word in ("Connected:", "Disconnected:", "build", "verify", "push", "Exit codes"):
        assert word in out


@pytest.mark.parametrize("command", program.program.list_commands(click.Context(program.program)))
def test_every_command_has_help_with_examples_that_the_command_takes(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    status, out, _ = run(capsys, command, "--help")
    assert status == 0
    assert "Options:" in out
    examples = [
        shlex.split(line) for line in re.findall(r"^ +(bundler .+)$", out.partition("Example")[2], re.MULTILINE)
    ]
    assert examples
    for bundler, name, *arguments in examples:
        assert (bundler, name) == ("bundler", command)
        taken = program.program.get_command(click.Context(program.program), name)
        assert taken
        assert taken.make_context(name, arguments).command is taken


def test_the_version_is_written_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version")[:2] == (0, f"bundler {__version__}\n")
    text = (ROOT / "pyproject.toml").read_text()
    assert 'dynamic = ["version"]' in text
    assert __version__ not in text


def test_an_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "biuld")
    assert status == ExitCode.USAGE
    assert "biuld" in err


def test_an_error_says_what_happened_and_what_to_do(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, out, err = run(capsys, "build", "-f", str(tmp_path / "bundle.yaml"))
    assert status == ExitCode.SPEC
    assert err.startswith("error: Cannot read the spec")
    assert "-> Name it with --file" in err
    assert not out


def test_scripts_get_the_error_as_json_on_stdout(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, out, _ = run(capsys, "build", "-f", str(tmp_path / "bundle.yaml"), "--output", "json")
    error = json.loads(out)["error"]
    assert (status, error["code"]) == (3, 3)
    assert error["remedy"].startswith("Name it")


def test_a_source_date_epoch_that_is_no_number_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    status, _, err = run(capsys, "build")
    assert status == ExitCode.USAGE
    assert "yesterday" in err


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (249_288_704, "249.3 MB"), (5 * 10**9, "5.00 GB")],
)
def test_sizes_are_said_in_decimal_units(amount: int, text: str) -> None:
    assert size(amount) == text


def test_progress_without_a_terminal_is_plain_lines() -> None:
    out = io.StringIO()
    with progress.progress_for(out, {}).task("Fetching", total=10, unit="items") as task:
        task.advance(10)
    assert re.fullmatch(r"Fetching: 10 of 10 in \d+\.\d s\n", out.getvalue())


def test_colour_is_off_where_nobody_asked_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    console.show_error(SpecError("A.", remedy="B.", details=("C",)), as_json=False)
    assert capsys.readouterr().err == "error: A.\n  C\n  -> B.\n"


def test_a_wrong_command_line_is_json_too_for_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "push", "x.tar", "--output", "json")
    assert status == ExitCode.USAGE
    assert "--registry" in json.loads(out)["error"]["problem"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("push", "x.tar", "--registry", "r", "--client-key", "k.pem"), "--client-cert"),
        (("build", "--redis", "redis:7"), "--rehearse"),
        (("load", "x.tar", "--platform", "foo"), "not a platform: 'foo'"),
        (("rehearse", "x.tar", "--user", "root"), "not UID:GID"),
        (("rehearse", "x.tar", "--operator-version", "foo"), "--operator-version foo"),
        (("lint", "x.yaml", "--operator-version", "0.1"), "--operator-version 0.1"),
    ],
)
def test_options_that_say_nothing_useful_are_refused(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    status, _, err = run(capsys, *arguments)
    assert status == ExitCode.USAGE
    assert said in err


@pytest.mark.parametrize(
    ("line", "ours"),
    [
        ("dial tcp 127.0.0.1:1: connect: connection refused", False),
        ("unauthorized: authentication required", False),
        ("received unexpected HTTP status: 500 Internal Server Error", False),
        ("name unknown: repository name not known to registry", False),
        ("open /var/tmp/x: permission denied", True),
        ("write /var/tmp/x: no space left on device", True),
    ],
)
def test_skopeos_words_tell_the_registrys_faults_from_this_machines(line: str, ours: bool) -> None:  # noqa: FBT001
    assert (push_by_skopeo.BY_REGISTRY.search(line) is None) is ours


def test_the_timeout_that_is_asked_for_reaches_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[PushOptions] = []

    def run(_bundle: Path, given: PushOptions, *_: object) -> None:
        asked.append(given)
        raise SpecError("enough")

    monkeypatch.setattr("bundler.steps.transport.push.run", run)
    with pytest.raises(SystemExit):
        program.main(["push", "x.tar", "--registry", "r.example", "--registry-timeout", "7", "--retry-times", "2"])
    connection = asked[0].access.connection
    assert (connection.timeout, connection.attempts) == (7.0, 3)


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A user without HOME and without an entry in passwd, as OpenShift gives one to containers."""

    def unknown(_uid: int) -> None:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_CACHE_HOME", "BUNDLER_CACHE_DIR", "PYENV_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"bundler-{os.getuid()}"


def test_a_user_without_a_home_has_a_cache_of_its_own(homeless: Path) -> None:
    assert cache_options.default_cache() == homeless
    assert homeless.stat().st_mode & 0o777 == 0o700
    homeless.chmod(0o777)
    with pytest.raises(UsageError, match="belongs to another user"):
        cache_options.default_cache()


@pytest.mark.usefixtures("homeless")
def test_no_command_needs_a_home(capsys: pytest.CaptureFixture[str]) -> None:
    for command in program.program.list_commands(click.Context(program.program)):
        assert run(capsys, command, "--help")[0] == ExitCode.DONE
    status, _, err = run(capsys, "push", "/nonexistent.tar", "--registry", "127.0.0.1:1/x")
    assert (status, "Cannot read the bundle" in err) == (ExitCode.USAGE, True)
    assert PackageIndexes.of_this_host().login("https://index.example/x.whl") is None


@pytest.mark.parametrize(
    "arguments", [("load", "x.tar"), ("push", "x.tar", "--registry", "r.example", "--client", "skopeo")]
)
def test_other_programs_pull_from_no_ipv6_address(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    status, _, err = run(capsys, *arguments, "--listen", "[::1]:5055")
    assert (status, "IPv6" in err, "127.0.0.1:PORT" in err) == (ExitCode.USAGE, True, True)


@pytest.mark.parametrize("text", ["https://auth.example", "auth.example/token", "a b", "auth.example:port", ""])
def test_a_token_server_is_a_host(capsys: pytest.CaptureFixture[str], text: str) -> None:
    status, _, err = run(capsys, "push", "x.tar", "--registry", "r.example", "--token-server", text)
    assert (status, f"--token-server {text} is not HOST[:PORT]" in err) == (ExitCode.USAGE, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("push", "x.tar", "--registry", "127.0.0.1:1/x", "--receipt", "{}"),
        ("push", "x.tar", "--registry", "127.0.0.1:1/x", "--receipt", "{}", "--client", "skopeo"),
        ("rehearse", "x.tar", "--report", "{}"),
        ("init", "no-such-repo", "-o", "{}"),
    ],
)
def test_where_a_result_goes_is_tried_before_the_work(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    path = "/proc/x/result.json"
    status, _, err = run(capsys, *(word.format(path) for word in arguments))
    assert (status, f"Cannot write {path}" in err) == (ExitCode.TOOL_FAILED, True)
