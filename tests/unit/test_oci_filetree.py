import io

import pytest

from bundler.oci.filetree import Directory, Entry, File, FileTree, Symlink


def _file(path: str, content: bytes = b"") -> File:
    return File(path, len(content), lambda: io.BytesIO(content))


def test_entries_come_sorted_by_path_whatever_their_order() -> None:
    entries: list[Entry] = [_file("b/c"), Directory("b"), Symlink("a", "b/c")]
    assert [entry.path for entry in FileTree.of(entries)] == ["a", "b", "b/c"]
    assert FileTree.of(entries) == FileTree.of(reversed(entries))


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/etc/passwd", "relative"),
        ("", "relative"),
        ("../etc/passwd", "'..'"),
        ("a/../../b", "'..'"),
        ("./a", "'.'"),
        ("a//b", "empty"),
        ("a/", "empty"),
        ("etc/.wh.passwd", "delete"),
        ("etc/.wh..wh..opq", "delete"),
        ("a\0b", "NUL"),
        ("a\udcff", "UTF-8"),
    ],
)
def test_a_path_that_would_leave_or_confuse_the_layer_is_refused(path: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        FileTree.of([_file(path)])


def test_a_path_that_occurs_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="'a' occurs twice"):
        FileTree.of([_file("a"), Directory("a")])


def test_a_path_below_a_file_or_a_link_of_the_same_tree_is_refused() -> None:
    with pytest.raises(ValueError, match="below 'a'"):
        FileTree.of([Symlink("a", "/etc"), _file("a/b/passwd")])


@pytest.mark.parametrize("target", ["", "a\0b", "\udcff"])
def test_a_link_without_a_target_that_can_be_written_is_refused(target: str) -> None:
    with pytest.raises(ValueError, match="a"):
        FileTree.of([Symlink("a", target)])


def test_trees_merge_when_they_share_a_directory() -> None:
    merged = FileTree.merged(FileTree.of([Directory("a"), _file("a/x")]), FileTree.of([Directory("a"), _file("a/y")]))
    assert [entry.path for entry in merged] == ["a", "a/x", "a/y"]


def test_trees_that_disagree_about_a_directory_do_not_merge() -> None:
    with pytest.raises(ValueError, match="'a' occurs twice"):
        FileTree.merged(FileTree.of([Directory("a", 0o755)]), FileTree.of([Directory("a", 0o700)]))


def test_trees_that_hold_the_same_file_do_not_merge() -> None:
    with pytest.raises(ValueError, match="'a' occurs twice"):
        FileTree.merged(FileTree.of([_file("a")]), FileTree.of([_file("a")]))


def test_missing_parents_are_added_only_when_asked_for() -> None:
    tree = FileTree.of([Directory("opt", 0o775, gid=0), _file("opt/feast/repo/x.py")])
    assert len(tree) == 2
    assert tree.with_parents().entries[:3] == (
        Directory("opt", 0o775),
        Directory("opt/feast"),
        Directory("opt/feast/repo"),
    )
