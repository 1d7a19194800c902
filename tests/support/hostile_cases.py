"""The cases of the corpus: a name, where the fault is, and what is changed of an honest bundle."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from typing import Any, Final

from bundler.model import limits
from tests.support import hostile
from tests.support.hostile import Draft, Member, Place, extended, header

Edit = Callable[[Draft], bytes]
CASES: Final[dict[str, tuple[Place, Edit]]] = {}
INDEX: Final = "application/vnd.oci.image.index.v1+json"
README: Final = "README.md"


def case(name: str, place: Place, edit: Callable[[Draft], object]) -> None:
    """Add a case; ``edit`` changes a draft, or returns the bytes itself."""

    def made(draft: Draft) -> bytes:
        result = edit(draft)
        return result if isinstance(result, bytes) else draft.to_bytes()

    assert name not in CASES
    CASES[name] = place, made


def named(path: str) -> Callable[[Draft], None]:
    return lambda draft: draft.extra.update({path: b"evil\n"})


# --- names, each of a file that is listed with its digest -------------------------------------------------------------

for _name, _path in {
    "absolute": "/tmp/evil",
    "climbs": "../../evil",
    "climbs inside": "manifests/../../evil",
    "dot": "./evil",
    "two slashes": "manifests//evil",
    "an option": "--checkpoint-action=exec=sh",
    "line end": "evil\nfile",
    "escape": "evil\x1b[2J",
    "hidden": ".evil",
    "space": "evil file",
    "long": "a" * 300,
    "other case": "Install.sh",
    "folder in other case": "Manifests/x.yaml",
    "file and folder": "README.md/x",
    "other alphabet": "\u0435vil",
}.items():
    case(f"name: {_name}", Place.NAMES, named(_path))


# --- the tar ----------------------------------------------------------------------------------------------------------


def members(edit: Callable[[list[Member]], list[Member] | None]) -> Callable[[Draft], None]:
    def edited(draft: Draft) -> None:
        draft.edit_members = lambda found: edit(found) or found

    return edited


def on(path: str, edit: Callable[[Member], None]) -> Callable[[Draft], None]:
    def edited(found: list[Member]) -> None:
        edit(next(member for member in found if member.path == path))

    return members(edited)


def headed(path: str = README, **fields: Any) -> Callable[[Draft], None]:
    """Write a member's header with other fields."""

    def edited(draft: Draft) -> None:
        time = draft.value["created"]
        on(path, lambda one: setattr(one, "head", header(path.encode(), len(one.content), **{"time": time, **fields})))(
            draft
        )

    return edited


def before(path: str, *inserted: Member) -> Callable[[Draft], None]:
    def edited(found: list[Member]) -> list[Member]:
        place = [member.path for member in found].index(path)
        return [*found[:place], *inserted, *found[place:]]

    return members(edited)


def prefixed(records: dict[str, str], kind: bytes = b"x") -> Callable[[Draft], None]:
    return on(README, lambda one: setattr(one, "head", extended(records, kind) + one.head))


def other(path: str, kind: bytes, content: bytes = b"", target: bytes = b"") -> Member:
    return Member(path, content, header(path.encode(), len(content), kind=kind, target=target))


for _kind in (b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"S", b"L", b"K", b"V", b"M", b"g", b"Z", b"\0"):
    case(f"tar: a member of kind {_kind!r}", Place.TAR, before("install.sh", other("zz", _kind, target=b"/etc/passwd")))
case("tar: old kind", Place.TAR, headed(kind=b"\0"))
case("tar: setuid", Place.TAR, headed("install.sh", mode=0o4755))
case("tar: everybody writes", Place.TAR, headed(mode=0o666))
case("tar: owner", Place.TAR, headed(uid=1000))
case("tar: owner's name", Place.TAR, headed(names=b"root"))
case("tar: time", Place.TAR, headed(time=1))
case("tar: GNU magic", Place.TAR, headed(magic=b"ustar  \0"))
case("tar: no magic", Place.TAR, headed(magic=bytes(8)))
case("tar: bytes behind the fields", Place.TAR, headed(rest=b"hidden"))
case("tar: size in base 256", Place.TAR, headed(size_field=b"\x80" + bytes(3) + struct.pack(">q", 4096)))
case("tar: negative size", Place.TAR, headed(size_field=b"\xff" * 4 + struct.pack(">q", -1024)))
case("tar: size of eight gigabytes", Place.TAR, headed(size_field=b"77777777777\0"))
case("tar: size with spaces", Place.TAR, on(README, lambda one: setattr(one, "head", spaced(one))))
case("tar: padding", Place.TAR, on(README, lambda one: setattr(one, "padding", b"x" * (-len(one.content) % 512))))
case("tar: twice", Place.TAR, before("install.sh", Member(README, b"evil", header(README.encode(), 4))))
case("tar: order", Place.TAR, members(lambda found: [*found[:-2], found[-1], found[-2]]))
case("tar: extra", Place.TAR, before("install.sh", Member("sbom/zz", b"x", header(b"sbom/zz", 1))))
case("tar: missing", Place.TAR, members(lambda found: [one for one in found if one.path != "bundle.lock"]))
case("tar: comment", Place.TAR, prefixed({"comment": "hidden"}))
case("tar: global comment", Place.TAR, prefixed({"comment": "hidden"}, b"g"))
case("tar: size said twice", Place.TAR, prefixed({"size": "1024"}))
case("tar: path said twice", Place.TAR, prefixed({"path": README}))
case("tar: another path", Place.TAR, prefixed({"path": "../../evil"}))
case("tar: sparse", Place.TAR, prefixed({"GNU.sparse.size": "1000000000000", "GNU.sparse.map": "0,1"}))
case("tar: size of many digits", Place.TAR, prefixed({"size": "9" * 3000}))
case(
    "tar: bad checksum",
    Place.TAR,
    on(README, lambda one: setattr(one, "head", one.head[:148] + b"0000000\0" + one.head[156:])),
)
case("tar: zero block in the middle", Place.TAR, before("install.sh", Member("", b"", bytes(1024))))
case("tar: no end", Place.TAR, lambda draft: setattr(draft, "tail", b""))
case("tar: half an end", Place.TAR, lambda draft: setattr(draft, "tail", bytes(512)))
case("tar: longer end", Place.TAR, lambda draft: setattr(draft, "tail", bytes(10240)))
case("tar: bytes behind the end", Place.TAR, lambda draft: setattr(draft, "tail", bytes(1024) + b"evil"))
case("tar: a byte short", Place.TAR, lambda draft: draft.to_bytes()[:-1])
case("tar: two in a row", Place.TAR, lambda draft: draft.to_bytes() * 2)
case("tar: empty", Place.TAR, lambda _: b"")
case("tar: zeros", Place.TAR, lambda _: bytes(1 << 16))
case("tar: noise", Place.TAR, lambda _: bytes(range(256)) * 64)


def spaced(one: Member) -> bytes:
    return header(one.path.encode(), 0, size_field=b"%10o  " % len(one.content), time=1_700_000_000)


# --- bundle.json ------------------------------------------------------------------------------------------------------


def value(**values: Any) -> Callable[[Draft], None]:
    return lambda draft: draft.value.update(values)


def manifest(edit: Callable[[bytes], bytes]) -> Callable[[Draft], None]:
    return lambda draft: setattr(draft, "edit_manifest", edit)


def decoded(edit: Callable[[dict[str, Any]], object]) -> Callable[[Draft], None]:
    """Change what bundle.json says after all was listed."""

    def edited(content: bytes) -> bytes:
        found = json.loads(content)
        edit(found)
        return (json.dumps(found, indent=1, sort_keys=True) + "\n").encode()

    return manifest(edited)


for _name, _change in {
    "created before 1970": value(created=-1),
    "created in 10^18 seconds": value(created=10**18),
    "created true": value(created=True),
    "created a float": value(created=1.5),
    "an unknown key": value(hidden="x"),
    "a format of the future": value(format=3),
    "format true": value(format=True),
    "a name with an escape": value(name="x\x1b[31m"),
    "a name with a line end": value(name="x\ny"),
    "a name with HTML": value(name="<script>"),
    "a version with a slash": value(version="1/2"),
    "a long name": value(name="x" * 500),
    "files that are lists": decoded(lambda found: found.update(files=[[]])),
    "no files": decoded(lambda found: found.pop("files")),
    "files that are an object": decoded(lambda found: found.update(files={})),
    "a size that is true": decoded(lambda found: found["files"][0].update(size=True)),
    "a size that is a text": decoded(lambda found: found["files"][0].update(size="30")),
    "a size that is another": decoded(lambda found: found["files"][0].update(size=31)),
    "a size that is negative": decoded(lambda found: found["files"][0].update(size=-1)),
    "a digest in capitals": decoded(lambda found: found["files"][0].update(digest="sha256:" + "A" * 64)),
    "a digest that is another": decoded(lambda found: found["files"][0].update(digest="sha256:" + "0" * 64)),
    "a digest of another kind": decoded(lambda found: found["files"][0].update(digest="sha512:" + "0" * 128)),
    "a role with an escape": decoded(lambda found: found["files"][0].update(role="\x1b[31m")),
    "a file twice": decoded(lambda found: found["files"].insert(0, found["files"][0])),
    "files out of order": decoded(lambda found: found["files"].reverse()),
    "itself": decoded(lambda found: found["files"].insert(2, {**found["files"][0], "path": "bundle.json"})),
    "an image's negative size": decoded(lambda found: found["images"][0].update(size=-5)),
    "an image's giant size": decoded(lambda found: found["images"][0].update(size=10**30)),
    "annotations of an image": decoded(lambda found: found["images"][0]["root"].update(annotations={"a": "b"})),
    "images that are a text": decoded(lambda found: found.update(images="")),
    "platforms that are an object": decoded(lambda found: found["images"][0].update(platforms={})),
    "a platform of no kind": decoded(lambda found: found["images"][0].update(platforms=["x"])),
    "a platform with an escape": decoded(lambda found: found["images"][0].update(platforms=["linux/amd64/\x1b[31m"])),
    "a base that is none": value(base={}),
    "Infinity": manifest(lambda content: content.replace(b'"size": 30', b'"size": Infinity')),
    "NaN": manifest(lambda content: content.replace(b'"size": 30', b'"size": NaN')),
    "1e999": manifest(lambda content: content.replace(b'"size": 30', b'"size": 1e999')),
    "a number of 5000 digits": manifest(lambda content: content.replace(b'"size": 30', b'"size": ' + b"9" * 5000)),
    "not its one form": manifest(lambda content: json.dumps(json.loads(content)).encode()),
    "a key twice": manifest(lambda content: content.replace(b'{\n "created"', b'{\n "name": "x",\n "created"')),
    "a byte order mark": manifest(lambda content: b"\xef\xbb\xbf" + content),
    "no UTF-8": manifest(lambda content: content.replace(b"driver", b"\xff\xfe")),
    "deep": manifest(lambda _: b"[" * 100_000),
    "very many lists": manifest(lambda _: b'{"files":[' + b"[]," * 1_000_000 + b"[]]}"),
    "many megabytes": manifest(lambda _: b'{"name":"' + b"x" * (9 << 20) + b'"}'),
    "an empty text": manifest(lambda _: b""),
}.items():
    case(f"bundle.json: {_name}", Place.MANIFEST, _change)


def many_images(draft: Draft) -> None:
    image = draft.image
    names = (f"{image['internal'].rpartition(':')[0]}{number}:1" for number in range(limits.BUNDLE_IMAGES + 1))
    draft.value["images"] = [{**image, "reference": name, "internal": name} for name in names]


case("bundle.json: too many images", Place.MANIFEST, many_images)


# --- what follows from bundle.json ------------------------------------------------------------------------------------


def copy_of(path: str, edit: Callable[[bytes], bytes]) -> Callable[[Draft], None]:
    def edited(draft: Draft) -> None:
        honest = {"index.json": draft.index, "images.txt": draft.image_list}[path]()
        draft.extra[path] = edit(honest)

    return edited


def without_images(draft: Draft) -> None:
    draft.copies = False
    del draft.files["images.txt"]


def sums(edit: Callable[[bytes], bytes]) -> Callable[[Draft], None]:
    return lambda draft: setattr(draft, "edit_sums", edit)


def other_digest(content: bytes) -> bytes:
    place = content.index(b"sha256:") + 7
    return content[:place] + b"0" * 64 + content[place + 64 :]


case("index.json: another image", Place.COPIES, copy_of("index.json", other_digest))
case("index.json: no name", Place.COPIES, copy_of("index.json", lambda text: text.replace(b"ref.name", b"ref.none")))
case("index.json: no image", Place.COPIES, copy_of("index.json", lambda _: b'{"manifests":[],"schemaVersion":2}'))
case("index.json: spaces", Place.COPIES, copy_of("index.json", lambda text: text + b"\n"))
case(
    "index.json: a name twice",
    Place.COPIES,
    copy_of("index.json", lambda text: text.replace(b'{"man', b'{"a":1,"a":2,"man', 1)),
)
case(
    "index.json: very many names",
    Place.COPIES,
    copy_of("index.json", lambda _: b"{" + b",".join(b'"%x":0' % n for n in range(200_000)) + b',"7":0}'),
)
case("images.txt: another image", Place.COPIES, copy_of("images.txt", other_digest))
case(
    "images.txt: another name",
    Place.COPIES,
    copy_of("images.txt", lambda text: text.replace(b"driver-stats:0.1.0\n", b"evil:1\n")),
)
case(
    "images.txt: another registry",
    Place.COPIES,
    copy_of("images.txt", lambda text: text.replace(b"# registry", b"# evil", 1)),
)
case(
    "images.txt: a line more",
    Place.COPIES,
    copy_of("images.txt", lambda text: text + text.splitlines(keepends=True)[-1]),
)
case("images.txt: no last line end", Place.COPIES, copy_of("images.txt", lambda text: text[:-1]))
case("images.txt: missing", Place.COPIES, without_images)
case("SHA256SUMS: a line less", Place.COPIES, sums(lambda text: text.partition(b"\n")[2]))
case("SHA256SUMS: a line twice", Place.COPIES, sums(lambda text: text + text.partition(b"\n")[0] + b"\n"))
case(
    "SHA256SUMS: another order",
    Place.COPIES,
    sums(lambda text: b"".join(sorted(text.splitlines(keepends=True), reverse=True))),
)
case("SHA256SUMS: a comment", Place.COPIES, sums(lambda text: b"# evil\n" + text))
case("SHA256SUMS: a device", Place.COPIES, sums(lambda text: text + b"0" * 64 + b"  /dev/zero\n"))
case("SHA256SUMS: an escape", Place.COPIES, sums(lambda text: text + b"\x1b[2J\n"))
case("SHA256SUMS: no last line end", Place.COPIES, sums(lambda text: text[:-1]))
case("SHA256SUMS: another digest", Place.COPIES, sums(lambda text: b"0" * 64 + text[64:]))
case(
    "oci-layout: another version",
    Place.IMAGES,
    lambda draft: draft.files.update({"oci-layout": b'{"imageLayoutVersion":"2.0.0"}'}),
)


# --- images -----------------------------------------------------------------------------------------------------------


def image(
    manifest: Callable[[dict[str, Any]], Any] = lambda value: value,
    config: Callable[[dict[str, Any]], Any] = lambda value: value,
) -> Callable[[Draft], None]:
    return lambda draft: draft.change_image(manifest, config)


def layer(edit: Callable[[dict[str, Any]], Any]) -> Callable[[Draft], None]:
    def edited(value: dict[str, Any]) -> dict[str, Any]:
        edit(value["layers"][0])
        return value

    return image(edited)


def as_index(rows: Callable[[dict[str, Any]], list[Any]], depth: int = 1) -> Callable[[Draft], None]:
    """Make an index of the first image's manifest the root, again and again."""

    def edited(draft: Draft) -> None:
        root = dict(draft.image["root"])
        size = draft.image["size"]
        for _ in range(depth):
            content = hostile.as_bytes({"schemaVersion": 2, "mediaType": INDEX, "manifests": rows(root)})
            draft.set_root(content, INDEX)
            draft.image["root"].pop("platform", None)
            root = dict(draft.image["root"])
            size += len(content)
        draft.image["size"] = size

    return edited


def variants(root: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for number in range(limits.DESCRIPTORS):
        yield {**root, "platform": {"os": "linux", "architecture": "amd64", "variant": f"v{number}"}}


def altered(draft: Draft) -> None:
    """Change a manifest's bytes, but neither its name nor what is listed."""
    path = f"blobs/sha256/{draft.image['root']['digest'].removeprefix('sha256:')}"
    on(path, lambda one: setattr(one, "content", one.content[:-1] + b" "))(draft)


def internal(draft: Draft) -> None:
    """Give the second image the internal name of the first one."""
    draft.value["images"][1]["internal"] = draft.image["internal"]


for _name, _change in {
    "manifest altered": altered,
    "two with one internal name": internal,
    "internal name outside of the registry": lambda draft: draft.image.update(internal="evil.example/x:1"),
    "size is another": lambda draft: draft.image.update(size=draft.image["size"] + 1),
    "platform is another": lambda draft: draft.image.update(platforms=["linux/arm64"]),
    "a blob that no image has": lambda draft: draft.put_blob(b"evil"),
    "a blob under another name": lambda draft: draft.files.update({f"blobs/sha256/{'0' * 64}": b"evil"}),
    "called an index": lambda draft: draft.image["root"].update(mediaType=INDEX),
    "manifest and index at once": image(lambda found: {**found, "manifests": []}),
    "no schema version": image(lambda found: {key: one for key, one in found.items() if key != "schemaVersion"}),
    "an artifact of old": image(lambda found: {"schemaVersion": 2, "mediaType": found["mediaType"], "blobs": []}),
    "very many layers": image(lambda found: {**found, "layers": found["layers"] * 20_000}),
    "very many names": image(lambda _: b"{" + b",".join(b'"%x":0' % n for n in range(200_000)) + b',"7":0}'),
    "deep manifest": image(lambda found: {**found, "annotations": json.loads("[" * 200 + "]" * 200)}),
    "layer of another size": layer(lambda found: found.update(size=found["size"] + 1)),
    "layer that is missing": layer(lambda found: found.update(digest="sha256:" + "0" * 64)),
    "layer whose size is true": layer(lambda found: found.update(size=True)),
    "diff ids of too few layers": image(config=lambda found: {**found, "rootfs": {"type": "layers", "diff_ids": []}}),
    "config that is a list": image(config=lambda _: b"[]"),
    "config for another platform": image(config=lambda found: {**found, "architecture": "arm64"}),
    "config with lists for texts": image(config=lambda found: {**found, "config": {"Env": {"a": 1}}}),
    "index without entries": as_index(lambda _: []),
    "indexes in indexes": as_index(lambda root: [root], depth=5),
    "indexes of 512 platforms": as_index(lambda root: list(variants(root)), depth=3),
}.items():
    case(f"image: {_name}", Place.IMAGES, _change)


# --- documents --------------------------------------------------------------------------------------------------------


def yaml(text: str | bytes, name: str = "zz.yaml") -> Callable[[Draft], None]:
    """Add a manifest that the kustomization names."""
    content = text if isinstance(text, bytes) else text.encode()

    def edited(draft: Draft) -> None:
        draft.files[f"manifests/{name}"] = content
        draft.files["manifests/kustomization.yaml"] += f"  - {name}\n".encode()

    return edited


def document(path: str, content: bytes) -> Callable[[Draft], None]:
    return lambda draft: draft.files.update({path: content})


def sbom(content: bytes) -> Callable[[Draft], None]:
    return lambda draft: draft.files.update({"sbom/image.json": content})


def resources(*names: str) -> Callable[[Draft], None]:
    text = "kind: Kustomization\nresources:\n" + "".join(f"  - {name}\n" for name in names)
    return lambda draft: draft.files.update({"manifests/kustomization.yaml": text.encode()})


def kustomizations(draft: Draft) -> None:
    """Name folders many times in each other."""
    for folder in ("", "a/", "a/b/", "a/b/c/"):
        below = {"": "a", "a/": "b", "a/b/": "c"}.get(folder, "x.yaml")
        text = f"kind: Kustomization\nresources: [{','.join([below] * 300)}]\n"
        draft.files[f"manifests/{folder}kustomization.yaml"] = text.encode()
    draft.files["manifests/a/b/c/x.yaml"] = b"kind: ConfigMap\nmetadata: {name: x}\n"


OBJECT: Final = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: z, namespace: feast}\n"
PATCHED: Final = b'kind: Kustomization\nresources: []\npatches: [{target: {kind: X}, patch: "[%s]"}]\n'
ALIASES: Final = "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))
MERGES: Final = "".join(f"a{n}: &a{n}\n  <<: [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))
for _name, _change in {
    "aliases of aliases": yaml(f"{OBJECT}a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n{ALIASES}"),
    "merges of merges": yaml(f"{OBJECT}a0: &a0 {{k: v, l: v}}\n{MERGES}"),
    "a value inside itself": yaml(f"{OBJECT}x: &x [*x]\n"),
    "deep": yaml("a: " + "[" * 50_000),
    "deep and closed": yaml("a: " + "[" * 5_000 + "]" * 5_000),
    "large": yaml(OBJECT + "data:\n" + "".join(f"  k{n}: v\n" for n in range(300_000))),
    "not UTF-8": yaml(b"kind: \xff\xfe\n"),
    "a tab": yaml("kind: x\n\tname: y\n"),
    "a tab between words": yaml(f"{OBJECT}data:\n  a:\tb\n"),
    "a line separator": yaml(f"{OBJECT}data:\n  a: b\u2028  c: d\n"),
    "a byte order mark in the middle": yaml(f"{OBJECT}data:\n  \ufeffa: b\n"),
    "half of a surrogate pair": yaml(f'{OBJECT}data: {{a: "\\ud800"}}\n'),
    "half of a surrogate pair in a key": yaml(f'{OBJECT}data: {{"\\udfff": a}}\n'),
    "an escape": yaml("kind: \x1b[31m\n"),
    "a key twice": yaml(f"{OBJECT}data: {{a: 1, a: 2}}\n"),
    "binary": yaml(f"{OBJECT}data: {{a: !!binary aGVsbG8=}}\n"),
    "a set": yaml(f"{OBJECT}data: !!set {{a, b}}\n"),
    "an object of Python": yaml("!!python/object/apply:os.system [id]\n"),
    "a tag with an escape": yaml("kind: !%1b[31mEVIL x\n"),
    "not a number": yaml(f"{OBJECT}data: {{a: .nan, b: .inf}}\n"),
    "a giant number": yaml(f"{OBJECT}data: {{a: {'9' * 5000}}}\n"),
    "a list instead of an object": yaml("[1, 2, 3]\n"),
    "a text instead of an object": yaml("evil\n"),
    "metadata that is a list": yaml("apiVersion: v1\nkind: ConfigMap\nmetadata: [a]\n"),
    "a name that is an option": yaml("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: --evil}\n"),
    "an object with items": yaml(f"{OBJECT}items: [{{apiVersion: v1, kind: Namespace, metadata: {{name: evil}}}}]\n"),
    "a list of a kind": yaml(f"{OBJECT.replace('ConfigMap', 'ConfigMapList')}items: []\n"),
    "a patch for some objects": lambda draft: draft.files.update(
        {"manifests/kustomization.yaml": PATCHED.replace(b"X}", b"X, name: y}") % b"{op: add, path: /a, value: 1}"}
    ),
    "two kustomizations in a file": lambda draft: draft.files.update(
        {"manifests/kustomization.yaml": b"kind: Kustomization\nresources: []\n---\nkind: Kustomization\n"}
    ),
    "no API version": yaml("kind: ConfigMap\nmetadata: {name: x}\n"),
    "no kind": yaml("metadata: {name: x}\n"),
    "an address": resources("https://evil.example/x.yaml"),
    "a path outside": resources("../../../etc/passwd"),
    "itself": resources("."),
    "a file twice": resources("namespace.yaml", "namespace.yaml"),
    "a missing file": resources("none.yaml"),
    "a generator": lambda draft: draft.files.update(
        {"manifests/kustomization.yaml": b"kind: Kustomization\nsecretGenerator: [{name: x, files: [/etc/passwd]}]\n"}
    ),
    "kustomizations that name each other": kustomizations,
    "no kustomization": lambda draft: draft.files.pop("manifests/kustomization.yaml"),
}.items():
    case(f"Kubernetes: {_name}", Place.DOCUMENTS, _change)
for _name, _content in {
    "a list": b"[]",
    "deep": b'{"components":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "very many values": b'{"components":[' + b"{}," * 600_000 + b"{}]}",
    "1e999": b'{"components":[{"version":1e999}]}',
    "a key twice": b'{"components":[],"components":[]}',
    "17 megabytes": b'{"x":"' + b"x" * (17 << 20) + b'"}',
}.items():
    case(f"bill of materials: {_name}", Place.DOCUMENTS, sbom(_content))
for _name, _content in {
    "no statement": b"{}",
    "deep": b"[" * 100_000,
    "of another image": b'{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"'
    + b"0" * 64
    + b'"}}]}',
    "a payload that is not base64": b'{"payloadType":"application/vnd.in-toto+json","payload":"!"}',
}.items():
    case(f"provenance: {_name}", Place.DOCUMENTS, document("provenance/x.intoto.json", _content))
case("scan: no result", Place.DOCUMENTS, document("vulnerabilities.json", b"[]"))
case("checklist: a list", Place.DOCUMENTS, lambda draft: draft.files.update({"checklist.json": b"[]"}))
case("signature: large", Place.MANIFEST, lambda draft: setattr(draft, "signature", bytes(limits.SIGNATURE_SIZE + 1)))


def attached(files: dict[str, bytes]) -> Callable[[Draft], None]:
    return lambda draft: draft.attached.update(files)


APPROVAL: Final = f"approvals/security-{'a' * 64}.json"
for _name, _attached in {
    "large": {APPROVAL: bytes(limits.APPROVAL_SIZE + 1)},
    "another name": {"approvals/security.json": b"{}"},
    "a role in capitals": {APPROVAL.replace("security", "Security"): b"{}"},
    "another kind of file": {APPROVAL.replace(".json", ".txt"): b"{}"},
}.items():
    case(f"approval: {_name}", Place.MANIFEST, attached(_attached))
case("approval: listed", Place.MANIFEST, named(APPROVAL))

# --- what is odd and no fault -----------------------------------------------------------------------------------------

for _name, _change in {
    "untouched": lambda _: None,
    "a signature that nobody checks": lambda draft: setattr(draft, "signature", b"garbage"),
    "an approval that nobody checks": attached({APPROVAL: b"garbage"}),
    "a date": yaml(f"{OBJECT}data: {{a: 2020-01-01}}\n"),
    "keys that are numbers": yaml(f"{OBJECT}data: {{1: a, 2020-01-01: b}}\n"),
    "a number of base 60": yaml(f"{OBJECT}data: {{a: 1:30:59}}\n"),
    "a Secret with numbers": yaml(
        "apiVersion: v1\nkind: Secret\nmetadata: {name: z, namespace: feast}\nstringData: {1: 2}\n", "secrets/z.yaml"
    ),
    "a large environment": image(config=lambda found: {**found, "config": {"Env": ["A=" + "x" * 3_000_000]}}),
    "a long path": lambda draft: draft.files.update({"build/" + "a" * 150: b""}),
}.items():
    case(f"no fault: {_name}", Place.NOTHING, _change)
