"""The client against a registry in memory: sessions, uploads, downloads, redirects; no socket is opened."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from email.message import Message
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bundler.effects.archive.blob_content import BundledBlob
from bundler.effects.archive.volumes import Extent
from bundler.effects.blobs import BlobStore
from bundler.effects.registry import download
from bundler.effects.registry.endpoint import Connection, Endpoint
from bundler.effects.registry.faults import RefusedError
from bundler.effects.registry.http import Response
from bundler.effects.registry.journal import Journal
from bundler.effects.registry.meter import Meter
from bundler.effects.registry.remote_blob import RemoteBlob
from bundler.effects.registry.repository import Referrers, Repository
from bundler.effects.registry.retry import Cancellation, CancelledError
from bundler.effects.registry.session import Session
from bundler.effects.registry.upload import upload
from bundler.effects.registry.wire import Request
from bundler.errors import RegistryError, VerificationError
from bundler.model.descriptor import Descriptor
from bundler.model.digest import Digest
from tests.support.memory_registry import MemoryRegistry

CONTENT = hashlib.shake_256(b"content").digest(5_000_000)
DIGEST = Digest.of(CONTENT)


class NoWaiting(Cancellation):
    """Waits for nothing."""

    def sleep(self, seconds: float) -> None:  # noqa: ARG002  (the base class's)
        self.check()


class MemoryBody(io.BytesIO):
    length: int | None = None


def answer(status: int, headers: Mapping[str, str], content: bytes = b"") -> Response:
    head = Message()
    for name, value in headers.items():
        head[name] = value
    return Response(status, head, MemoryBody(content))


class MemorySession(Session):
    """A session whose exchanges go to a registry in memory; ``before`` may break each one."""

    def __init__(self, registry: MemoryRegistry, **connection: object) -> None:
        asked = Connection(environment={}, **connection)  # type: ignore[arg-type]
        super().__init__(Endpoint("r.example"), asked, NoWaiting())
        self.registry = registry
        self.breaks_after: list[int | None] = []
        self.urls: list[tuple[str, str, Mapping[str, str]]] = []
        self.answer: Callable[[str, str], Response | None] = lambda method, url: None  # noqa: ARG005

    def _once(self, request: Request, url: str) -> Response:
        method, headers, body = request.method, request.headers, request.body
        self.urls.append((method, url, headers))
        if (own := self.answer(method, url)) is not None:
            return own
        breaks_after = self.breaks_after.pop(0) if self.breaks_after and callable(body) else None

        def parts() -> Iterator[bytes]:
            passed = 0
            for part in body() if callable(body) else [body or b""]:
                if breaks_after is not None and passed + len(part) > breaks_after:
                    yield bytes(part)[: breaks_after - passed]
                    raise ConnectionResetError("Connection reset by peer")
                passed += len(part)
                yield bytes(part)

        reply = self.registry.handle(method, urlsplit(url)._replace(scheme="", netloc="").geturl(), headers, parts())
        return answer(reply.status, reply.headers, b"" if method == "HEAD" else reply.body)


class Counting:
    def __init__(self) -> None:
        self.steps: list[int] = []

    def advance(self, amount: int) -> None:
        self.steps.append(amount)

    def note(self, text: str) -> None:
        pass


@pytest.fixture
def blob(tmp_path: Path) -> Iterator[BundledBlob]:
    """The content, cut in two between two files, in the middle of something else."""
    cut = 2_000_001
    (tmp_path / "volume-1").write_bytes(b"before" + CONTENT[:cut])
    (tmp_path / "volume-2").write_bytes(CONTENT[cut:] + b"after")
    first, second = (os.open(tmp_path / name, os.O_RDONLY) for name in ("volume-1", "volume-2"))
    yield BundledBlob(DIGEST, len(CONTENT), "blob", (Extent(first, 6, cut), Extent(second, 0, len(CONTENT) - cut)))
    os.close(first)
    os.close(second)


def send(session: MemorySession, blob: BundledBlob, **more: object) -> Counting:
    task = Counting()
    notes = {"journal": Journal(None), "chunk_size": 1_500_000, **more}
    upload(Repository(session, "team/app", write=True), blob, meter=Meter(task), **notes)  # type: ignore[arg-type]
    assert session.registry.blobs["team/app", str(DIGEST)] == CONTENT
    return task


@pytest.mark.parametrize("chunk_size", [1_048_576, 5_000_000, 64 << 20])
def test_a_blob_arrives_whole_in_chunks_of_any_size(chunk_size: int, blob: BundledBlob) -> None:
    task = send(MemorySession(MemoryRegistry()), blob, chunk_size=chunk_size)
    assert sum(task.steps) == len(CONTENT)


@pytest.mark.parametrize("places", [[0], [1], [700_000], [1_500_000 - 1], [3_000_000, 10, 20, 2_000_000]])
@pytest.mark.parametrize("chunk_size", [1_500_000, 64 << 20])
def test_a_broken_upload_sends_only_what_is_missing(places: list[int], chunk_size: int, blob: BundledBlob) -> None:
    registry = MemoryRegistry()
    session = MemorySession(registry)
    session.breaks_after = list(places)
    task = send(session, blob, chunk_size=chunk_size)
    # One kept byte cannot be told from none: "0-0" says both.
    assert registry.body_bytes <= len(CONTENT) + sum(place == 1 for place in places)
    assert sum(task.steps) == len(CONTENT)
    assert min(task.steps) > 0


def test_a_registry_that_keeps_nothing_gets_the_blob_anew(blob: BundledBlob) -> None:
    registry = MemoryRegistry(resumes=False)
    session = MemorySession(registry)
    session.breaks_after = [1_000_000, 2_000_000]
    task = send(session, blob)
    assert registry.body_bytes > len(CONTENT)
    assert sum(task.steps) == len(CONTENT)


def test_a_blob_whose_answer_was_lost_is_not_sent_again(blob: BundledBlob) -> None:
    registry = MemoryRegistry()
    session = MemorySession(registry)

    def lose_once(method: str, url: str) -> Response | None:
        if method == "PUT":
            session.answer = lambda method, url: None  # noqa: ARG005
            target = urlsplit(url)._replace(scheme="", netloc="").geturl()
            registry.handle(method, target, {}, [CONTENT])
            raise ConnectionResetError("Connection reset by peer")
        return None

    session.answer = lose_once
    send(session, blob, chunk_size=64 << 20)
    assert sum(method == "PUT" for method, _, _ in session.urls) == 1


def test_a_limit_of_a_proxy_makes_chunks_smaller(blob: BundledBlob) -> None:
    send(MemorySession(MemoryRegistry(most_bytes=1_300_000)), blob, chunk_size=64 << 20)


@pytest.mark.parametrize("size", [1_100_000, 1_300_000, 1_600_000, 3_400_000, 3_800_000])
def test_the_least_limit_of_a_proxy_lets_every_size_pass(size: int, tmp_path: Path) -> None:
    content = CONTENT[:size]
    (tmp_path / "blob").write_bytes(content)
    with (tmp_path / "blob").open("rb") as stream:
        blob = BundledBlob(Digest.of(content), size, "blob", (Extent(stream.fileno(), 0, size),))
        session = MemorySession(MemoryRegistry(most_bytes=1 << 20))
        upload(Repository(session, "team/app", write=True), blob, journal=Journal(None), meter=Meter(Counting()))
    assert session.registry.blobs["team/app", str(blob.digest)] == content


def test_a_registry_that_says_the_first_chunk_with_every_other_gets_each_once(blob: BundledBlob) -> None:
    registry = MemoryRegistry(tells_progress=False)
    send(MemorySession(registry), blob)
    assert registry.body_bytes == len(CONTENT)


@pytest.mark.parametrize("breaks", [[], [None, 2_000_000]])
def test_a_registry_that_knows_no_chunks_gets_the_blob_in_one_request(
    breaks: list[int | None], blob: BundledBlob
) -> None:
    registry = MemoryRegistry(chunks=False)
    session = MemorySession(registry)
    session.breaks_after = list(breaks)
    send(session, blob)
    assert registry.body_bytes == len(CONTENT) + sum(filter(None, breaks))


def test_passing_disorder_far_apart_costs_no_more_than_asking(blob: BundledBlob) -> None:
    registry = MemoryRegistry()
    session = MemorySession(registry)
    patches = iter([200, 200, 416, 200, 200, 416, *[200] * 9])

    def disorder(method: str, _url: str) -> Response | None:
        return answer(416, {}) if method == "PATCH" and next(patches) == 416 else None

    session.answer = disorder
    send(session, blob, chunk_size=800_000)
    assert registry.body_bytes == len(CONTENT)
    assert len(registry.uploads) == 0
    assert sum(method == "POST" for method, _, _ in session.urls) == 1


@pytest.mark.parametrize("keeps_refused", [True, False])
def test_an_upload_that_a_damaged_copy_began_is_begun_anew(
    keeps_refused: bool,  # noqa: FBT001
    tmp_path: Path,
) -> None:
    content = CONTENT + CONTENT  # what is long enough to be noted
    registry = MemoryRegistry(keeps_refused=keeps_refused)
    session = MemorySession(registry)
    repository = Repository(session, "team/app", write=True)
    journal, digest = Journal(tmp_path / "notes"), Digest.of(content)
    with journal.entry(repository.full_name, digest) as entry:
        entry.note(repository.begin_upload())
        (key,) = registry.uploads
        registry.uploads[key].content += b"x" + content[1:3_000_000]
    (tmp_path / "blob").write_bytes(content)
    with (tmp_path / "blob").open("rb") as stream:
        blob = BundledBlob(digest, len(content), "blob", (Extent(stream.fileno(), 0, len(content)),))
        upload(repository, blob, journal=journal, meter=Meter(Counting()), chunk_size=4_000_000)
    assert registry.blobs["team/app", str(digest)] == content
    assert not registry.uploads
    assert not [*(tmp_path / "notes").iterdir()]


def test_a_noted_upload_whose_address_is_gone_costs_no_more_than_the_blob(tmp_path: Path) -> None:
    content = CONTENT + CONTENT
    session = MemorySession(MemoryRegistry(), attempts=1)
    repository = Repository(session, "team/app", write=True)
    journal, digest = Journal(tmp_path / "notes"), Digest.of(content)
    with journal.entry(repository.full_name, digest) as entry:
        entry.note("https://gone.example/v2/team/app/blobs/uploads/1")

    def gone(_method: str, url: str) -> Response | None:
        if "gone.example" in url:
            raise ConnectionRefusedError(111, "Connection refused")
        return None

    session.answer = gone
    (tmp_path / "blob").write_bytes(content)
    with (tmp_path / "blob").open("rb") as stream:
        blob = BundledBlob(digest, len(content), "blob", (Extent(stream.fileno(), 0, len(content)),))
        upload(repository, blob, journal=journal, meter=Meter(Counting()))
    assert session.registry.blobs["team/app", str(digest)] == content


def test_a_disk_that_fails_is_not_taken_for_the_registry(blob: BundledBlob, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "preadv", fail)
    with pytest.raises(VerificationError, match="blob cannot be read: Input/output error"):
        send(MemorySession(MemoryRegistry()), blob)


@pytest.mark.parametrize(
    ("status", "message"),
    [(412, "will exceed the configured upper limit of 10.0 GiB"), (413, "quota exceeded"), (400, "read-only")],
)
def test_an_upload_that_a_quota_ends_is_sent_once(status: int, message: str, blob: BundledBlob) -> None:
    session = MemorySession(MemoryRegistry())
    body = json.dumps({"errors": [{"code": "DENIED", "message": message}]}).encode()
    session.answer = lambda method, _url: answer(status, {}, body) if method == "PUT" else None
    with pytest.raises(RefusedError, match=str(status)):
        send(session, blob)
    assert sum(method == "PUT" for method, _, _ in session.urls) == 1


def test_a_registry_that_breaks_every_time_is_given_up(blob: BundledBlob) -> None:
    session = MemorySession(MemoryRegistry(resumes=False))
    session.breaks_after = [100] * 100
    with pytest.raises(RegistryError, match="Lost the connection to the registry"):
        send(session, blob)
    assert len(session.breaks_after) == 94


def test_an_upload_that_fails_is_cancelled(blob: BundledBlob) -> None:
    session = MemorySession(MemoryRegistry())
    session.answer = lambda method, _url: answer(403, {}) if method == "PUT" else None
    with pytest.raises(RefusedError):
        send(session, blob)
    assert session.registry.uploads == {}
    assert [method for method, _, _ in session.urls][-1] == "DELETE"


@pytest.mark.parametrize("begun", [False, True])
def test_an_upload_that_is_interrupted_is_cancelled(blob: BundledBlob, begun: bool) -> None:  # noqa: FBT001
    session = MemorySession(MemoryRegistry())
    repository = Repository(session, "team/app", write=True)
    more = {"begun": repository.begin_upload()} if begun else {}

    def interrupt(method: str, _url: str) -> None:
        if method == "PATCH":
            session.cancellation.cancel()

    session.answer = interrupt
    with pytest.raises(CancelledError):
        send(session, blob, **more)
    assert session.registry.uploads == {}


def test_an_upload_that_is_noted_is_kept_for_the_next_push(tmp_path: Path) -> None:
    content = bytes(9 << 20)
    (tmp_path / "blob").write_bytes(content)
    with (tmp_path / "blob").open("rb") as stream:
        large = BundledBlob(Digest.of(content), len(content), "blob", (Extent(stream.fileno(), 0, len(content)),))
        session = MemorySession(MemoryRegistry())
        session.answer = lambda method, _url: answer(403, {}) if method == "PUT" else None
        with pytest.raises(RefusedError):
            send(session, large, journal=Journal(tmp_path / "uploads"))
    assert len(session.registry.uploads) == 1


def test_progress_with_every_attempt_is_never_given_up(blob: BundledBlob) -> None:
    session = MemorySession(MemoryRegistry())
    session.breaks_after = [400_000] * 20
    send(session, blob, chunk_size=64 << 20)


@pytest.mark.parametrize("broken", [None, 3_000_000])
def test_a_damaged_blob_is_never_completed(broken: int | None, blob: BundledBlob) -> None:
    registry = MemoryRegistry()
    session = MemorySession(registry)
    session.breaks_after = [broken] if broken else []
    wrong = BundledBlob(Digest("0" * 64), blob.size, "blobs/sha256/0000 in the bundle b.tar", blob.extents)
    with pytest.raises(VerificationError) as caught:
        send(session, wrong)
    assert str(DIGEST) in str(caught.value)
    assert str(wrong.digest) in str(caught.value)
    assert "b.tar" in str(caught.value)
    assert registry.blobs == {}
    assert not any("digest=" in target for _, target in registry.requests)


def test_a_bundle_that_became_shorter_is_damaged(blob: BundledBlob) -> None:
    short = BundledBlob(DIGEST, blob.size, "blob", blob.extents[:1])
    session = MemorySession(MemoryRegistry())
    with pytest.raises(VerificationError, match="ends after 2000001"):
        send(session, short)


def test_an_upload_that_was_noted_goes_on(blob: BundledBlob, tmp_path: Path) -> None:
    big = BundledBlob(DIGEST, blob.size, "blob", blob.extents)
    registry = MemoryRegistry()
    session = MemorySession(registry)
    repository = Repository(session, "team/app", write=True)
    where = repository.begin_upload()
    key = where.rpartition("/")[2]
    registry.uploads[key].content += CONTENT[:3_000_000]
    journal = Journal(tmp_path / "notes")
    with journal.entry(repository.full_name, DIGEST) as entry:
        entry.note(where)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bundler.effects.registry.upload._WORTH_A_NOTE", 0)
        send(session, big, journal=journal)

    assert registry.body_bytes == len(CONTENT) - 3_000_000
    assert list((tmp_path / "notes").iterdir()) == []


def test_a_note_that_the_registry_forgot_does_no_harm(blob: BundledBlob, tmp_path: Path) -> None:
    session = MemorySession(MemoryRegistry())
    journal = Journal(tmp_path)
    with journal.entry("r.example/team/app", DIGEST) as entry:
        entry.note("https://r.example/v2/team/app/blobs/uploads/forgotten")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bundler.effects.registry.upload._WORTH_A_NOTE", 0)
        send(session, blob, journal=journal)


def test_a_note_is_for_one_push_at_a_time(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with journal.entry("r/a", DIGEST) as first:
        first.note("https://r.example/1")
        with journal.entry("r/a", DIGEST) as second:
            assert second.location is None
            second.note("https://r.example/2")
    with journal.entry("r/a", DIGEST) as later:
        assert later.location == "https://r.example/1"
        later.forget()
    assert list(tmp_path.iterdir()) == []


def test_notes_that_cannot_be_written_do_not_stop_a_push(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with Journal(tmp_path / "file" / "below").entry("r/a", DIGEST) as entry:
        entry.note("https://r.example/1")


def _stored(registry: MemoryRegistry) -> Descriptor:
    registry.blobs["team/app", str(DIGEST)] = CONTENT
    return Descriptor("application/octet-stream", DIGEST, len(CONTENT))


def fetch(session: MemorySession, blob: Descriptor, store: BlobStore) -> Counting:
    task = Counting()
    download.fetch(Repository(session, "team/app"), blob, store, Meter(task))
    return task


def test_a_download_is_verified_and_counted(tmp_path: Path) -> None:
    registry = MemoryRegistry()
    store = BlobStore(tmp_path)
    blob = _stored(registry)
    assert sum(fetch(MemorySession(registry), blob, store).steps) == len(CONTENT)
    assert store.path(DIGEST).read_bytes() == CONTENT
    session = MemorySession(registry)
    assert sum(fetch(session, blob, store).steps) == len(CONTENT)
    assert session.urls == []  # what is there is not asked for


def test_damaged_bytes_are_not_kept(tmp_path: Path) -> None:
    registry = MemoryRegistry()
    blob = _stored(registry)
    registry.blobs["team/app", str(DIGEST)] = CONTENT[:-1] + b"!"
    with pytest.raises(VerificationError, match=r"r\.example/team/app serves other bytes"):
        fetch(MemorySession(registry), blob, BlobStore(tmp_path))
    assert not list((tmp_path / "blobs").glob("**/*.*"))


class _Breaking(MemoryBody):
    """Breaks off after a while."""

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        count = super().readinto(buffer[: len(CONTENT) // 2])
        if not count:
            raise ConnectionResetError("Connection reset by peer")
        return count


@pytest.mark.parametrize(
    "without_ranges",
    [
        lambda: answer(416, {}),
        lambda: answer(206, {}, CONTENT[100:]),
        lambda: answer(206, {"Content-Range": "bytes 100-*/*"}, CONTENT[100:]),
        lambda: answer(206, {"Content-Range": f"bytes */{len(CONTENT)}"}),
    ],
)
def test_a_download_that_cannot_go_on_begins_again(without_ranges: Callable[[], Response], tmp_path: Path) -> None:
    registry, store = MemoryRegistry(), BlobStore(tmp_path)
    blob = _stored(registry)
    session = MemorySession(registry, attempts=2)
    answers = [lambda: Response(200, Message(), _Breaking(CONTENT[: len(CONTENT) // 2])), without_ranges]
    session.answer = lambda _method, _url: answers.pop(0)() if answers else None
    assert sum(fetch(session, blob, store).steps) == len(CONTENT)
    assert store.path(DIGEST).read_bytes() == CONTENT
    assert [headers.get("Range") for _, _, headers in session.urls] == [None, f"bytes={len(CONTENT) // 2}-", None]


@pytest.mark.parametrize("without_ranges", [lambda: answer(416, {}), lambda: answer(206, {}, CONTENT[100:])])
def test_a_blob_of_another_repository_is_read_where_ranges_fail(without_ranges: Callable[[], Response]) -> None:
    registry = MemoryRegistry()
    blob = _stored(registry)
    session = MemorySession(registry)
    answers = [without_ranges]
    session.answer = lambda _method, _url: answers.pop(0)() if answers else answer(200, {}, CONTENT)
    remote, view = RemoteBlob(Repository(session, "team/app"), blob), memoryview(bytearray(1000))
    assert remote.read_into(3_000_000, view) == 1000
    assert bytes(view) == CONTENT[3_000_000:3_001_000]
    remote.close()


def test_more_bytes_than_announced_are_refused(tmp_path: Path) -> None:
    registry = MemoryRegistry()
    blob = _stored(registry)
    registry.blobs["team/app", str(DIGEST)] = CONTENT + b"more"
    with pytest.raises(VerificationError, match="got more"):
        fetch(MemorySession(registry), blob, BlobStore(tmp_path))


def _redirecting(target: str) -> Callable[[str, str], Response | None]:
    def redirect(method: str, url: str) -> Response | None:
        if "/storage/" in url:
            return answer(200, {}, CONTENT)
        if method == "GET" and "/blobs/" in url:
            return answer(307, {"Location": target})
        if url.endswith("/v2/"):
            return answer(401, {"WWW-Authenticate": 'Basic realm="r"'})
        return None

    return redirect


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("https://store.example/storage/x?signature=1", False),
        ("/storage/x", True),
        ("https://r.example/storage/x", True),
    ],
)
def test_only_the_registry_itself_sees_our_login(target: str, told: bool, tmp_path: Path) -> None:  # noqa: FBT001
    logins = tmp_path / "auth.json"
    logins.write_text('{"auths": {"r.example": {"username": "robot", "password": "secret"}}}')
    registry = MemoryRegistry()
    session = MemorySession(registry, auth_file=logins)
    session.answer = _redirecting(target)
    with suppress(RegistryError):  # refused in the end: it only teaches the session that a login is wanted
        session.check()
    session.urls.clear()

    fetch(session, _stored(registry), BlobStore(tmp_path / "cache"))

    assert [("Authorization" in headers) for _, _, headers in session.urls] == [True, told]


def test_a_redirect_from_tls_to_plain_http_is_refused(tmp_path: Path) -> None:
    registry = MemoryRegistry()
    session = MemorySession(registry)
    session.answer = _redirecting("http://store.example/storage/x")
    with pytest.raises(RegistryError, match="from TLS to http"):
        fetch(session, _stored(registry), BlobStore(tmp_path))


def test_an_upload_that_would_go_on_in_plain_text_is_refused() -> None:
    session = MemorySession(MemoryRegistry())
    session.answer = lambda _method, _url: answer(202, {"Location": "http://store.example/uploads/1"})
    with pytest.raises(RegistryError, match="from TLS to http"):
        Repository(session, "team/app", write=True).begin_upload()


def test_redirects_in_circles_end(tmp_path: Path) -> None:
    registry = MemoryRegistry()
    session = MemorySession(registry)
    session.answer = _redirecting("https://r.example/v2/team/app/blobs/again")
    with pytest.raises(RegistryError, match="in a loop"):
        fetch(session, _stored(registry), BlobStore(tmp_path))


def test_a_registry_behind_tls_that_calls_itself_plain_is_still_spoken_to_with_tls() -> None:
    session = MemorySession(MemoryRegistry())
    assert session.url("http://r.example/v2/uploads/1?x=2") == "https://r.example/v2/uploads/1?x=2"
    assert session.url("http://other.example/v2/") == "http://other.example/v2/"


def test_a_redirect_to_no_address_is_an_error_that_names_it(tmp_path: Path) -> None:
    registry = MemoryRegistry()
    session = MemorySession(registry)
    session.answer = _redirecting("http://[::1/storage")
    with pytest.raises(RegistryError, match="invalid URL"):
        fetch(session, _stored(registry), BlobStore(tmp_path))


def test_an_endless_small_answer_is_refused() -> None:
    session = MemorySession(MemoryRegistry())
    session.answer = lambda method, url: answer(200, {}, b"x" * (17 << 20))  # noqa: ARG005
    with pytest.raises(RegistryError, match="where a short answer is expected"):
        session.check()


def test_a_blob_of_another_digest_in_an_answer_is_refused() -> None:
    registry = MemoryRegistry()
    _stored(registry)
    session = MemorySession(registry)
    wrong = {"Docker-Content-Digest": f"sha256:{'0' * 64}"}
    session.answer = lambda method, url: answer(200, wrong)  # noqa: ARG005
    with pytest.raises(RegistryError, match="expected"):
        Repository(session, "team/app").has_blob(DIGEST)


@pytest.mark.parametrize(
    ("given", "location", "own"),
    [
        ("r.example", "https://r.example:443/v2/", True),
        ("r.example:443", "https://r.example/v2/", True),
        ("R.Example", "https://r.example/v2/", True),
        ("r.example", "https://r.example:5000/v2/", False),
        ("r.example", "http://r.example/v2/", False),
        ("r.example", "https://s3.example/v2/", False),
        ("r.example", "https://r.example:port/", False),
        ("r.example", "https://[r/", False),
        (f"{'r' * 70}.example", "https://r.example/", False),
    ],
)
def test_a_registry_is_known_by_its_origin_however_it_writes_it(given: str, location: str, own: bool) -> None:  # noqa: FBT001
    session = Session(Endpoint(given), Connection(environment={}))
    assert session.is_own(location) is own


def _listing(*numbers: int, following: str = "") -> Response:
    rows = [
        {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": f"sha256:{number:064x}", "size": 2}
        for number in numbers
    ]
    headers = {"Link": f'<{following}>; rel="next"'} if following else {}
    return answer(200, headers, json.dumps({"schemaVersion": 2, "manifests": rows}).encode())


def test_referrers_are_read_to_the_last_page() -> None:
    session = MemorySession(MemoryRegistry())
    pages = [
        _listing(1, 2, following=f"/v2/team/app/referrers/{DIGEST}?last=2"),
        _listing(3, following="?last=3&n=1"),
        _listing(3, 4),
    ]
    session.answer = lambda _method, _url: pages.pop(0)
    found = Repository(session, "team/app").referrers(DIGEST)
    assert [int(row.digest.hex, 16) for row in found.listed] == [1, 2, 3, 4]
    assert [url.partition("?")[2] for _, url, _ in session.urls] == ["", "last=2", "last=3&n=1"]


@pytest.mark.parametrize(
    "links",
    [
        ["<?last=1>; rel=next"],
        ['<?last=1>; title="a, b"; rel="next"'],
        ["<?first=1>; rel=prev, <?last=1>; REL='next'"],
        ["<?first=1>; rel=prev", '<?last=1>; rel = "last next"'],
    ],
)
def test_the_next_page_is_found_however_it_is_written(links: list[str]) -> None:
    session = MemorySession(MemoryRegistry())
    first = _listing(1)
    for link in links:
        first.headers["Link"] = link
    pages = [first, _listing(2)]
    session.answer = lambda _method, _url: pages.pop(0)
    assert len(Repository(session, "team/app").referrers(DIGEST).listed) == 2
    assert session.urls[1][1].endswith("?last=1")


def test_pages_that_lead_in_circles_end() -> None:
    session = MemorySession(MemoryRegistry())
    session.answer = lambda _method, _url: _listing(1, following="?page=1")
    with pytest.raises(RegistryError, match="more than 100 pages"):
        Repository(session, "team/app").referrers(DIGEST)


@pytest.mark.parametrize("status", [500, 503])
def test_a_referrers_api_that_fails_leaves_the_tag_scheme(status: int) -> None:
    session = MemorySession(MemoryRegistry(), attempts=2)
    session.answer = lambda _, url: answer(status, {}) if "/referrers/" in url else _listing(7)
    assert len(Repository(session, "team/app").referrers(DIGEST).listed) == 1
    session.answer = lambda _, url: answer(status if "/referrers/" in url else 404, {})
    with pytest.raises(RefusedError, match=str(status)):  # nobody knows
        Repository(session, "team/app").referrers(DIGEST)


def test_a_head_that_is_filtered_says_nothing_about_what_is_there() -> None:
    registry = MemoryRegistry()
    _stored(registry)
    registry.manifests["team/app", "1.0"] = ("application/vnd.oci.image.manifest.v1+json", b'{"schemaVersion": 2}')
    session = MemorySession(registry)
    session.answer = lambda method, _url: answer(405, {}) if method == "HEAD" else None
    repository = Repository(session, "team/app")
    assert repository.find_manifest("1.0") == Digest.of(b'{"schemaVersion": 2}')
    assert repository.find_manifest("2.0") is None
    assert repository.has_blob(DIGEST)
    assert not repository.has_blob(Digest("0" * 64))
    session.answer = lambda _method, _url: answer(403, {})
    for ask in (lambda: repository.find_manifest("1.0"), lambda: repository.has_blob(DIGEST)):
        with pytest.raises(RefusedError, match="403"):
            ask()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 406, 501])
def test_a_registry_without_the_referrers_api_has_none(status: int) -> None:
    session = MemorySession(MemoryRegistry())
    session.answer = lambda _method, _url: answer(status, {})
    assert Repository(session, "team/app").referrers(DIGEST) == Referrers()
