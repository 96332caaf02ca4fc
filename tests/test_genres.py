import csv
import itertools
from pathlib import Path

import pytest

from genreray.errors import UserError
from genreray.genres import GenreTree, all_of, class_order, tree_order

GENUINE = Path(__file__).parents[2] / "shared/data/fma/fma_metadata/genres.csv"

HEADER = "genre_id,#tracks,parent,title,top_level\n"
# Rock > Punk > Post-Punk, Rock > Metal; children come before their parents, as in FMA's file.
SMALL = (
    HEADER + "25,9,12,Punk,12\n67,1,25,Post-Punk,12\n12,20,0,Rock,12\n31,3,12,Metal,12\n8,2,0,Old-Time / Historic,8\n"
)


@pytest.fixture(scope="module")
def tree():
    return GenreTree.from_csv(SMALL)


def test_class_order_is_by_code_point_whatever_the_order_of_rows():
    genres = ["Rock", "pop", "Électro", None, "Blues"]
    for rows in itertools.permutations(genres):
        assert class_order([*rows, "Rock"]) == ["Blues", "Rock", "pop", "Électro"]


def test_class_order_of_nothing_is_empty():
    assert class_order([None, None]) == []


def test_parents_children_and_ancestors_of_a_hand_made_tree(tree):
    assert tree.titles[67] == "Post-Punk"
    assert [tree.parent(title) for title in ("Post-Punk", "Punk", "Rock")] == ["Punk", "Rock", None]
    assert tree.children("Rock") == ["Metal", "Punk"]
    assert tree.children("Metal") == []
    assert tree.ancestors("Post-Punk") == ["Punk", "Rock"]
    assert tree.ancestors("Rock") == []
    assert [tree.top_level(title) for title in ("Post-Punk", "Rock", "Old-Time / Historic")] == [
        "Rock",
        "Rock",
        "Old-Time / Historic",
    ]


def test_a_tree_by_child_has_no_top(tree):
    assert tree.by_child() == {"Punk": "Rock", "Post-Punk": "Punk", "Metal": "Rock"}


@pytest.mark.parametrize(
    ("genre", "genres", "expected"),
    [
        ("Rock", None, {"Rock"}),
        (None, ["Post-Punk", "Old-Time / Historic"], {"Post-Punk", "Punk", "Rock", "Old-Time / Historic"}),
        ("Metal", ["Punk", None], {"Metal", "Punk", "Rock"}),
        ("Polka", [], {"Polka"}),
        (None, None, set()),
    ],
)
def test_a_track_has_its_genres_and_all_above_them(tree, genre, genres, expected):
    assert all_of(genre, genres, tree.by_child()) == expected


def test_the_order_of_a_tree_puts_each_genre_below_its_parent(tree):
    genres = ["Rock", "Punk", "Post-Punk", "Metal", "Old-Time / Historic", "Polka"]
    expected = [("Old-Time / Historic", 0), ("Polka", 0), ("Rock", 0), ("Metal", 1), ("Punk", 1), ("Post-Punk", 2)]
    assert tree_order(genres, tree.by_child()) == expected
    assert tree_order(["Post-Punk", "Metal"], tree.by_child()) == [("Metal", 0), ("Post-Punk", 0)]


def test_bytes_with_a_byte_order_mark_read_as_the_text(tree):
    assert GenreTree.from_csv(SMALL.encode("utf-8-sig")) == tree


@pytest.mark.parametrize("ask", [GenreTree.parent, GenreTree.children, GenreTree.ancestors, GenreTree.top_level])
def test_an_unknown_title_is_a_key_error(tree, ask):
    with pytest.raises(KeyError, match="Polka"):
        ask(tree, "Polka")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEADER + "1,0,2,A,1\n2,0,3,B,1\n3,0,1,C,1\n", "its own ancestor"),
        (HEADER + "1,0,1,A,1\n", "'A' is its own ancestor"),
        (HEADER + "1,0,9,A,1\n", "'A' has the parent 9, and there is no such genre"),
        (HEADER + "1,0,0,A,1\n1,0,0,B,1\n", "genre_id 1 is there twice"),
        (HEADER + "1,0,0,A,1\n2,0,0,A,2\n", "genres 1 and 2 are both called 'A'"),
        (HEADER + "1,0,0,,1\n", "line 2: a genre without a title"),
        (HEADER + "one,0,0,A,1\n", "not FMA's genres.csv"),
        (HEADER + "1\n", "line 2: a genre without a title"),
        ("id,parent,title\n1,0,A\n", "lacks the column genre_id"),
        ("", "lacks the column genre_id"),
        (b"\xff\xfe\x00", "not FMA's genres.csv"),
        (HEADER + '1,0,0,"A,1\n', "not FMA's genres.csv"),
    ],
)
def test_a_file_that_is_no_tree_is_refused(content, message):
    with pytest.raises(UserError, match=message):
        GenreTree.from_csv(content)


@pytest.mark.skipif(not GENUINE.exists(), reason="FMA's metadata is not here")
def test_top_levels_of_the_genuine_tree_are_those_its_file_states():
    content = GENUINE.read_text(encoding="utf-8")
    tree = GenreTree.from_csv(content)
    rows = list(csv.DictReader(content.splitlines()))
    assert len(tree.titles) == len(tree.parents) == len(rows) == 163
    for row in rows:
        assert tree.top_level(row["title"]) == tree.titles[int(row["top_level"])]
    assert len([title for title in tree.parents if tree.parent(title) is None]) == 16
