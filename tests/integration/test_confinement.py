"""A hostile program tries each way out of its confinement, as root and as an ordinary user."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from inspect import getsource
from pathlib import Path

import pytest

from bundler.effects import image_root
from bundler.effects.confinement import inside, limits, seccomp
from bundler.effects.image_root import ImageRoot
from bundler.effects.packages import bytecode
from bundler.errors import ToolFailedError
from tests.support.images import program

pytestmark = pytest.mark.integration

# Perl, because it is on every Debian, in one file, and can make any system call. Numbers: x86_64, aarch64.
NUMBERS = {"x86_64": [101, 165, 272, 161, 308, 321, 250, 56], "aarch64": [117, 40, 97, 51, 268, 280, 219, 220]}
WAYS_OUT = r"""
$| = 1;
my ($port, @numbers) = @ARGV;
my ($ptrace, $mount, $unshare, $chroot, $setns, $bpf, $keyctl, $clone) = @numbers;
sub tell_of {
    my ($name, $way) = @_;
    my $got = eval { $way->() };
    print "FAULT $name: $@" if $@;
    print "$name ", ($got ? "OPEN" : "shut"), "\n";
}
sub written { my $path = shift; return sub { open(my $f, '>', $path) or return 0; print $f "1" or return 0; close $f } }
sub readable { my $path = shift; return sub { open(my $f, '<', $path) or return 0; read($f, my $x, 64) } }
sub called { my @call = @_; return sub { syscall($call[0], @call[1..$#call]) >= 0 } }
my $none = "none\0"; my $tmpfs = "tmpfs\0"; my $place = "/tmp\0"; my $proc = "proc\0"; my $program = "\0" x 128;
my $device = "/tmp/x\0";
tell_of("core_pattern", written("/proc/sys/kernel/core_pattern"));
tell_of("modprobe", written("/proc/sys/kernel/modprobe"));
tell_of("namespaces", written("/proc/sys/user/max_user_namespaces"));
tell_of("sysrq", sub { open(my $f, '>', "/proc/sysrq-trigger") or return 0; -c $f ? 0 : 1 });
tell_of("oom", written("/proc/self/oom_score_adj"));
tell_of("kcore", readable("/proc/kcore"));
tell_of("keys", readable("/proc/keys"));
tell_of("sys", sub { -e "/sys/kernel" });
tell_of("kmsg", readable("/dev/kmsg"));
tell_of("mem", readable("/dev/mem"));
tell_of("disk", sub { opendir(my $d, "/dev") or return 0; grep { /^(sd|vd|nvme|loop|dm-|kvm|fuse|net)/ } readdir $d });
my @mknod = $ptrace == 101 ? (133, $device) : (33, -100, $device);
tell_of("device", sub { syscall($mknod[0], @mknod[1..$#mknod], 0060666, 0x800) == 0 });
tell_of("ptrace", called($ptrace, 16, 1, 0, 0));
tell_of("kill", sub { kill(9, 1); select(undef, undef, undef, 0.2); 0 });
tell_of("watcher-memory", readable("/proc/1/mem"));
tell_of("watcher-environment", readable("/proc/1/environ"));
tell_of("watcher-root", sub { -e "/proc/1/root/etc" });
tell_of("watcher-files", sub { readlink "/proc/1/fd/0" or open(my $f, '>', "/proc/1/fd/1") });
tell_of("parents", sub { getppid() != 1 });
tell_of("mount-tmpfs", called($mount, $none, $place, $tmpfs, 0, 0));
tell_of("mount-proc", called($mount, $none, $place, $proc, 0, 0));
tell_of("unshare-user", called($unshare, 0x10000000));
tell_of("unshare-mount", called($unshare, 0x00020000));
tell_of("clone-user", sub { my $p = syscall($clone, 0x10000000 | 17, 0, 0, 0, 0); exit 0 if $p == 0; $p > 0 });
tell_of("chroot", called($chroot, $place));
tell_of("bpf", called($bpf, 0, $program, 128));
tell_of("keyctl", sub { syscall($keyctl, 0, -3, 0) >= 0 });
tell_of("setns", sub { open(my $f, '<', "/proc/1/ns/net") or return 0; syscall($setns, fileno($f), 0) == 0 });
tell_of("network", sub {
    socket(my $s, 2, 1, 0) or return 0; connect($s, pack("S n C4 x8", 2, $port, 127, 0, 0, 1)) });
tell_of("vsock", sub { socket(my $s, 40, 1, 0) });
tell_of("netlink", sub { socket(my $s, 16, 3, 0) });
tell_of("packet", sub { socket(my $s, 17, 3, 0) });
tell_of("setuid", sub { $> = 1; $> == 1 });
tell_of("owner", sub { open(my $f, '>', "/tmp/owned") or return 0; chown(1, 1, "/tmp/owned") });
tell_of("core", sub { open(my $f, '<', "/proc/self/limits") or return 1; join('', <$f>) !~ /core file size\s+0/ });
open(my $map, '<', "/proc/self/uid_map");
print "map ", join(' ', split ' ', scalar <$map>), "\n";
open(my $status, '<', "/proc/self/status");
print grep { /^(Cap|NoNewPrivs|Seccomp:|Uid)/ } <$status>;
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a root file system with Perl, readable by whoever it is run as."""
    folder = tmp_path / "image"
    for path, content in {**program("perl"), **program("dash")}.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        target.chmod(0o755)
    for name in ("dev", "proc", "run", "tmp", "var/tmp"):
        (folder / name).mkdir(parents=True)
    return folder


@pytest.fixture
def port() -> Iterator[int]:
    """Listen where a program with this machine's network would reach us."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def shown(root: Path) -> ImageRoot:
    return ImageRoot(root.parent, (root.name,))


def perl(root: Path, script: str, *arguments: object, timeout: float = 60) -> str:
    command = ["/bin/perl", "-e", script, *map(str, arguments)]
    return image_root.run(shown(root), command, {"PATH": "/bin"}, purpose="trying to get out", timeout=timeout)


def listing(root: Path) -> Mapping[str, tuple[int, int]]:
    return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in root.rglob("*")}


def check_shut(output: str, outside: int) -> None:
    rows = dict(line.split(" ", 1) for line in output.splitlines() if line.endswith((" OPEN", " shut")))
    assert len(rows) > 30, output
    assert "FAULT" not in output
    assert {name for name, state in rows.items() if state == "OPEN"} == set()
    assert f"map 0 {outside} 1" in output
    for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb"):
        assert f"Cap{kind}:\t0000000000000000" in output
    assert "NoNewPrivs:\t1" in output
    assert "Seccomp:\t2" in output


def test_each_way_out_is_shut_where_root_runs_it(root: Path, port: int) -> None:
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    files = listing(root)
    output = perl(root, WAYS_OUT, port, *NUMBERS[os.uname().machine])
    user, _ = inside.outside_ids()
    assert user != 0
    check_shut(output, user)
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before
    assert listing(root) == files


def test_each_way_out_is_shut_where_an_ordinary_user_runs_it(root: Path, port: int) -> None:
    child = (
        "import sys\n"
        "from pathlib import Path\n"
        "from bundler.effects import image_root\n"
        "folder = Path(sys.argv[1])\n"
        "root = image_root.ImageRoot(folder.parent, (folder.name,))\n"
        "command = ['/bin/perl', '-e', *sys.argv[2:]]\n"
        "print(image_root.run(root, command, {'PATH': '/bin'}, purpose='trying', timeout=60))\n"
    )
    # An ordinary user without a single capability, who can still read this checkout.
    user = ["unshare", "--user", "--map-user=1000", "--map-group=1000"] if os.geteuid() == 0 else []
    command = [*user, sys.executable, "-c", child, str(root), WAYS_OUT, str(port)]
    command += map(str, NUMBERS[os.uname().machine])
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    check_shut(done.stdout, 1000 if user else os.geteuid())


def test_what_it_writes_is_limited_and_gone(root: Path) -> None:
    files = listing(root)
    script = r"""
        for my $place ("", "tmp", "var/tmp", "dev", "dev/shm", "proc", "run", "bin") {
            my ($n, $left) = (0, 10240); my $mb = "x" x (1 << 20);
            for my $number (0 .. 99) {
                open(my $f, '>', "/$place/big$number") or last; $SIG{XFSZ} = 'IGNORE';
                while ($left > 0 && syswrite($f, $mb)) { $n++; $left-- }
                last if $left <= 0;
            }
            print "$place $n\n";
        }
    """
    written = [int(line.split()[-1]) for line in perl(root, script).splitlines()]
    assert len(written) == 8
    assert max(written) <= limits.SCRATCH >> 20
    assert listing(root) == files


def test_a_fork_bomb_is_limited_and_nothing_of_it_is_left(root: Path) -> None:
    mark = f"bomb-{os.getpid()}"
    script = r"""
        my $made = 0;
        for (1 .. 100_000) { my $child = fork; last unless defined $child; if (!$child) { sleep 600; exit } $made++ }
        print "$made\n";
    """
    began = time.monotonic()
    assert int(perl(root, script, mark)) < limits.PROCESSES
    assert time.monotonic() - began < 30
    assert not alive(mark)


def test_on_old_kernels_the_threads_of_the_user_that_run_already_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    assert limits.threads_of(os.getuid()) == 0 or os.uname().release < "5.14"
    release = os.uname_result(("Linux", "here", "4.18.0-553.el8_10.x86_64", "#1 SMP", os.uname().machine))
    monkeypatch.setattr(os, "uname", lambda: release)
    assert limits.threads_of(os.getuid()) >= threading.active_count()


def alive(mark: str) -> list[str]:
    """Return the processes of this machine that have a word in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if mark.encode() in words:
            found.append(str(path))
    return found


def test_a_program_that_hides_from_its_parents_does_not_outlive_the_time_limit(root: Path) -> None:
    mark = f"daemon-{os.getpid()}"
    prctl = 157 if os.uname().machine == "x86_64" else 167
    script = f"""
        use POSIX ();
        $SIG{{$_}} = 'IGNORE' for qw(TERM HUP INT); syscall({prctl}, 1, 0, 0, 0, 0);
        if (!fork) {{ syscall({prctl}, 1, 0, 0, 0, 0); sleep 600 }}
        sleep 600;
    """.replace("use POSIX ();", "setpgrp(0, 0);")
    with pytest.raises(ToolFailedError, match="did not end in 2 s"):
        perl(root, script, mark, timeout=2)
    deadline = time.monotonic() + 5
    while alive(mark) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(mark)


def test_ten_gigabytes_of_output_end_it(root: Path) -> None:
    script = 'my $mb = "x" x (1 << 20); for (1 .. 10_240) { syswrite(STDOUT, $mb) }'
    with pytest.raises(ToolFailedError, match=f"printed more than {limits.OUTPUT} bytes"):
        perl(root, script)


def test_memory_is_limited(root: Path) -> None:
    with pytest.raises(ToolFailedError, match="status"):
        perl(root, f'my $x = "x" x {limits.DATA + 1}; print length $x;')


def test_a_program_that_is_asked_answers_from_its_confinement(root: Path) -> None:
    command = ["/bin/perl", "-e", "$| = 1; while (<STDIN>) { print scalar reverse }"]
    with image_root.conversing(shown(root), command, {}, seconds=10) as (requests, answers):
        for text in (b"one\n", b"two\n"):
            requests.write(text)
            requests.flush()
            assert answers.read(4) == bytes(reversed(text))


def test_what_cannot_be_run_is_said_without_a_traceback(root: Path) -> None:
    with pytest.raises(ToolFailedError, match="failed with status") as caught:
        image_root.run(shown(root), ["/bin/none"], {}, purpose="testing", timeout=20)
    assert caught.value.details == ("/bin/none No such file or directory",)


def test_an_interpreter_that_compiles_can_only_read_answer_and_take_memory() -> None:
    tried = {
        "open": "open('/etc/hostname')",
        "write": "open('/tmp/pwned-by-compiling', 'w')",
        "fork": "os.fork()",
        "program": "os.posix_spawn('/bin/true', ['true'], {})",
        "network": "socket.socket()",
        "kill": "os.kill(os.getppid(), 0)",
        "list": "os.listdir('/')",
    }
    attempts = "".join(
        f"try:\n    {code}\n    print('{name} OPEN')\nexcept OSError:\n    pass\n" for name, code in tried.items()
    )
    code = (
        f"{getsource(seccomp)}\nimport os, socket\nprint(allow_compiling())\n{attempts}print(len(b'x' * (64 << 20)))\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["True", str(64 << 20)]


def test_sources_in_any_encoding_are_compiled_though_no_file_can_be_opened() -> None:
    by = bytecode.Interpreter(sys.executable, "this one")
    sources = [
        bytecode.SourceFile("/latin.py", b"# -*- coding: latin-1 -*-\nx = '\xe9'\n"),
        bytecode.SourceFile("/unknown.py", b"# -*- coding: no-such-encoding -*-\nx = 1\n"),
        bytecode.SourceFile("/named.py", b"x = '\\N{BULLET}'\n"),
    ]
    assert [path for path, _ in bytecode.compiled(by, sources)] == ["/latin.py", "/named.py"]
