"""Genres into the tags of real files, and out again: byte for byte, whatever happens in between."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path
from random import Random

import mutagen
import pytest
import sounds

from genreray import storage
from genreray.errors import FileError, FileOutcome, UserError
from genreray.outputs import delta, retagging, undo
from genreray.outputs.undo import Change

GENRE = "Rök & Roll"


def make(folder: Path, format: str = "mp3", genre: str | None = None, name: str = "a") -> Path:
    path = folder / f"{name}.{format}"
    path.write_bytes(sounds.tagged(format, genre))
    os.utime(path, ns=(1_500_000_000_123_456_789, 1_400_000_000_123_456_789))
    return path


def write(path: Path, genre: str = GENRE, overwrite: bool = False, dry_run: bool = False, seen=None):
    with undo.log(str(path.parent / "undo.jsonl")) as log:
        how = {"overwrite": overwrite, "dry_run": dry_run}
        return retagging.write_genre(str(path), genre, seen or storage.stamp(str(path)), log, **how)


def restore(path: Path):
    with undo.log(str(path.parent / "undo.jsonl")) as log:
        ((uri, changes),) = log.files()
        assert uri == str(path)
        return retagging.restore(uri, changes)


def genre_by_mutagen(path: Path) -> list[str]:
    found = mutagen.File(path, easy=True)
    if isinstance(found.tags, mutagen.id3.ID3):  # which easy knows in mp3 alone
        return found.tags["TCON"].genres
    return [str(genre) for genre in found.get("genre", found.get("WM/Genre", []))]


@pytest.mark.parametrize("format", sounds.TAGGED)
def test_a_genre_is_written_and_taken_out_again(format, tmp_path):
    path = make(tmp_path, format)
    path.chmod(0o640)
    before, audio, then = path.read_bytes(), sounds.audio_hash(path), path.stat()
    tags = sounds.tags_of(path)
    assert write(path).outcome is FileOutcome.WRITTEN
    now = path.stat()
    assert genre_by_mutagen(path) == [GENRE]
    assert sounds.tags_of(path) == {**tags, "genre": GENRE}
    assert sounds.audio_hash(path) == audio
    assert (now.st_mtime_ns, stat.S_IMODE(now.st_mode)) == (then.st_mtime_ns, 0o640)
    assert write(path, seen=storage.Stamp(then.st_size, then.st_mtime_ns)).reason == "by an earlier run"
    assert restore(path).outcome is FileOutcome.RESTORED
    assert path.read_bytes() == before
    assert path.stat().st_mtime_ns == then.st_mtime_ns
    assert restore(path).outcome is FileOutcome.AS_BEFORE
    assert {p.name for p in tmp_path.iterdir()} == {path.name, "undo.jsonl"}


@pytest.mark.parametrize("format", sounds.TAGGED)
def test_a_genre_that_is_there_is_kept_unless_told_otherwise(format, tmp_path):
    path = make(tmp_path, format, "Polka")
    before, audio = path.read_bytes(), sounds.audio_hash(path)
    kept = write(path)
    assert (kept.outcome, kept.genre_before, kept.genre_after) == (FileOutcome.KEPT, "Polka", "Polka")
    assert path.read_bytes() == before
    done = write(path, overwrite=True)
    if format == "wav":  # a LIST INFO chunk, which stays: the file would have two genres
        assert done.outcome is FileOutcome.UNSUPPORTED
    else:
        assert (done.outcome, done.genre_before, done.genre_after) == (FileOutcome.WRITTEN, "Polka", GENRE)
        assert sounds.tags_of(path)["genre"] == GENRE
        assert sounds.audio_hash(path) == audio
        assert restore(path).genre_after == "Polka"
    assert path.read_bytes() == before


@pytest.mark.skipif(not (shutil.which("ffmpeg") and shutil.which("ffprobe")), reason="no ffmpeg and ffprobe here")
@pytest.mark.parametrize("format", ["mp3", "flac", "ogg", "m4a"])
def test_another_program_made_the_file_and_reads_the_genre(format, tmp_path):
    path = tmp_path / f"a.{format}"
    sound = ["-f", "lavfi", "-i", "sine=440:duration=1", "-metadata", "title=Täst"]
    codec = ["-c:a", "libvorbis"] if format == "ogg" else []
    subprocess.run(["ffmpeg", "-v", "error", *sound, *codec, path], check=True)
    before = path.read_bytes()
    assert write(path).outcome is FileOutcome.WRITTEN
    asked = ["ffprobe", "-v", "error", "-show_entries", "format_tags:stream_tags", "-of", "json", path]
    found = json.loads(subprocess.run(asked, capture_output=True, check=True).stdout)
    tags = {**found.get("format", {}).get("tags", {}), **found["streams"][0].get("tags", {})}
    assert {name.lower(): text for name, text in tags.items()}["genre"] == GENRE
    restore(path)
    assert path.read_bytes() == before


def test_id3v23_stays_what_it_is_and_keeps_its_other_frames(tmp_path):
    path = make(tmp_path)
    tags = mutagen.id3.ID3(path)
    tags.add(mutagen.id3.TYER(text="1987"))
    tags.add(mutagen.id3.APIC(mime="image/png", type=3, data=os.urandom(300_000)))
    tags.add(mutagen.id3.TXXX(desc="MusicBrainz", text=["a/b", "c"]))
    tags.save(path, v2_version=3, v23_sep=None, v1=2)
    before = path.read_bytes()
    picture = mutagen.id3.ID3(path, translate=False)["APIC:"].data
    assert write(path).outcome is FileOutcome.WRITTEN
    after = mutagen.id3.ID3(path, translate=False)
    assert after.version == (2, 3, 0)
    assert after["APIC:"].data == picture
    assert (after["TYER"].text, after["TXXX:MusicBrainz"].text) == (["1987"], ["a/b", "c"])
    assert (tmp_path / "undo.jsonl").stat().st_size < 3000  # the picture is in the file, and not in the undo file
    restore(path)
    assert path.read_bytes() == before


def test_genres_in_places_that_nothing_is_written_to_are_seen(tmp_path):
    path = make(tmp_path)
    tags = mutagen.apev2.APEv2()
    tags["Genre"] = "Polka"
    tags.save(path)
    assert write(path).outcome is FileOutcome.KEPT
    assert write(path, overwrite=True).outcome is FileOutcome.UNSUPPORTED


@pytest.mark.parametrize(
    ("spoil", "outcome"),
    [
        (lambda path: path.chmod(0o444), FileOutcome.READ_ONLY),
        (lambda path: path.write_bytes(path.read_bytes() + b"more"), FileOutcome.CHANGED),
        (lambda path: os.utime(path), FileOutcome.CHANGED),
        (lambda path: path.unlink(), FileOutcome.FAILED),
        (lambda path: os.link(path, path.with_name("b.mp3")), FileOutcome.UNSUPPORTED),
        (lambda path: (path.unlink(), os.mkfifo(path)), FileOutcome.UNSUPPORTED),
    ],
    ids=["read-only", "grown", "touched", "gone", "hard link", "pipe"],
)
def test_files_that_shall_not_be_written_are_left_alone(tmp_path, spoil, outcome):
    path = make(tmp_path)
    seen = storage.stamp(str(path))
    spoil(path)
    there = path.stat() if path.exists() else None
    result = write(path, seen=seen)
    assert result.outcome is outcome
    assert result.reason
    assert (path.stat() if path.exists() else None) == there
    assert (tmp_path / "undo.jsonl").read_bytes() == b""


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.aac", sounds.encode_ffmpeg(sounds.noise(22050, 1.0), 22050, "adts", "aac")), ("a.txt", b"words")],
)
def test_formats_without_tags_are_unsupported(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert write(tmp_path / name).outcome is FileOutcome.UNSUPPORTED


@pytest.mark.parametrize("format", sounds.TAGGED)
def test_damaged_files_are_rows_and_stay_as_they_are(tmp_path, format):
    whole = sounds.tagged(format)
    for n, content in enumerate((whole[:40], whole[:200], whole[:4] + os.urandom(3000), b"ID3" + whole, bytes(500))):
        path = tmp_path / f"{n}.{format}"
        path.write_bytes(content)
        if (result := write(path)).outcome is not FileOutcome.WRITTEN:
            assert result.reason
            assert path.read_bytes() == content
        else:
            with undo.log(str(tmp_path / "undo.jsonl")) as log:
                assert retagging.restore(str(path), log.of(str(path))).outcome is FileOutcome.RESTORED
            assert path.read_bytes() == content


def test_a_link_stays_one_and_its_file_is_written(tmp_path):
    (tmp_path / "store").mkdir()
    path = make(tmp_path / "store")
    link = tmp_path / "song.mp3"
    link.symlink_to(path)
    before = path.read_bytes()
    assert write(link).outcome is FileOutcome.WRITTEN
    assert link.is_symlink()
    assert sounds.tags_of(path)["genre"] == GENRE
    assert restore(link).outcome is FileOutcome.RESTORED
    assert link.is_symlink()
    assert path.read_bytes() == before


@pytest.mark.parametrize("genre", ["17", "(4)Disco", "\0", "a\0b", "x" * 100_000, "\ud800"])
def test_a_genre_that_does_not_come_back_is_not_written(tmp_path, genre):
    """ID3 has numbers for genres, and NUL between two of them."""
    path = make(tmp_path)
    before = path.read_bytes()
    result = write(path, genre)
    if result.outcome is FileOutcome.WRITTEN:
        assert genre_by_mutagen(path) == [genre]
        restore(path)
    assert path.read_bytes() == before
    assert (result.outcome is FileOutcome.WRITTEN) == (len(genre) > 1000)


def test_what_somebody_changed_since_is_left_alone(tmp_path):
    path = make(tmp_path)
    write(path)
    tags = mutagen.id3.ID3(path)
    tags.add(mutagen.id3.TPE1(text="Somebody"))
    tags.save()
    before = path.read_bytes()
    result = restore(path)
    assert (result.outcome, result.reason) == (FileOutcome.CHANGED, "something else changed it since")
    assert path.read_bytes() == before


def test_several_changes_are_taken_back_one_after_the_other(tmp_path):
    path = make(tmp_path, "ogg")
    before = path.read_bytes()
    for genre in ("Rock", "Jazz", "Rock"):
        assert write(path, genre, overwrite=True).outcome is FileOutcome.WRITTEN
    done = restore(path)
    assert (done.outcome, done.genre_before, done.genre_after) == (FileOutcome.RESTORED, "Rock", None)
    assert path.read_bytes() == before
    assert write(path, "Folk").outcome is FileOutcome.WRITTEN
    assert restore(path).outcome is FileOutcome.RESTORED
    assert path.read_bytes() == before


def test_a_dry_run_says_the_same_and_writes_nothing(tmp_path):
    path = make(tmp_path)
    before = path.read_bytes()
    result = write(path, dry_run=True)
    assert (result.outcome, result.genre_after) == (FileOutcome.WRITTEN, GENRE)
    assert path.read_bytes() == before
    assert (tmp_path / "undo.jsonl").read_bytes() == b""


KILLED = """
import os, signal, sys
from genreray import storage
from genreray.outputs import retagging, undo
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
where, path, job = sys.argv[1:]
if where == "before the undo file":
    undo.Log.append = die
else:
    storage.Rewriting.commit = die
with undo.log(os.path.join(os.path.dirname(path), "undo.jsonl")) as log:
    if job == "write":
        retagging.write_genre(path, "Rock", storage.stamp(path), log, overwrite=False, dry_run=False)
    else:
        retagging.restore(path, log.of(path))
"""


def killed(where: str, path: Path, job: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, where, path, job], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("where", ["before the undo file", "before the rename"])
def test_a_kill_leaves_the_file_as_it_was_and_both_ways_go_on(tmp_path, where):
    path = make(tmp_path, "flac")
    before = path.read_bytes()
    killed(where, path, "write")
    assert path.read_bytes() == before
    assert [p.suffix for p in tmp_path.iterdir() if p.name.startswith(".")] == [".part"]
    if where == "before the rename":  # an undo may come first
        assert restore(path).outcome is FileOutcome.AS_BEFORE
        assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
    assert write(path, "Rock").outcome is FileOutcome.WRITTEN
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
    if where == "before the rename":
        changed = path.read_bytes()
        killed(where, path, "restore")
        assert path.read_bytes() == changed
    assert restore(path).outcome is FileOutcome.RESTORED
    assert path.read_bytes() == before


def test_half_a_line_of_the_undo_file_is_cut_and_a_damaged_one_is_named(tmp_path):
    path = make(tmp_path)
    write(path)
    lines = tmp_path / "undo.jsonl"
    whole = lines.read_bytes()
    lines.write_bytes(whole + whole[:100])
    assert restore(path).outcome is FileOutcome.RESTORED
    assert lines.read_bytes() == whole
    lines.write_bytes(whole + b'{"uri": 1}\n')
    with pytest.raises(UserError, match=f"damaged at byte {len(whole):,}"), undo.log(str(lines)):
        pass


def test_an_undo_file_of_a_stranger_does_not_fit(tmp_path):
    path = make(tmp_path)
    write(path)
    change = Change.from_line((tmp_path / "undo.jsonl").read_bytes())
    before = path.read_bytes()
    for made_of in ([(0, 10**12)], [b"mine"]):
        forged = Change(change.uri, None, GENRE, change.before, change.after, made_of)
        assert retagging.restore(str(path), [forged]).outcome is FileOutcome.FAILED
        assert path.read_bytes() == before


def test_one_job_at_a_time_has_the_undo_file(tmp_path):
    uri = str(tmp_path / "undo.jsonl")
    with undo.log(uri), pytest.raises(UserError, match="in use by another job"), undo.log(uri):
        pass


def test_a_file_that_changes_while_it_is_written_keeps_the_others_change(tmp_path):
    path = make(tmp_path)
    stamp = storage.stamp(str(path))

    def rewrite():
        with storage.rewriting(str(path), stamp) as files:
            files.copy()
            path.write_bytes(b"somebody else's")
            files.commit(0)

    with pytest.raises(FileError) as stopped:
        rewrite()
    assert stopped.value.outcome is FileOutcome.CHANGED
    assert path.read_bytes() == b"somebody else's"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_an_old_file_is_told_by_the_new_one_whatever_they_are():
    random = Random(0)
    for _ in range(500):
        old = random.randbytes(random.randrange(400))
        new = bytearray(old)
        for _ in range(random.randrange(5)):
            at = random.randrange(len(new) + 1)
            new[at : at + random.randrange(60)] = random.randbytes(random.randrange(80))
        assert b"".join(delta.rebuilt(delta.pieces(old, bytes(new)), bytes(new))) == old
    audio = random.randbytes(300_000)
    old, new = b"ID3" + bytes(100) + audio, b"ID3 a longer tag" + bytes(3000) + audio + b"and one behind"
    assert sum(len(piece) for piece in delta.pieces(old, new) if isinstance(piece, bytes)) < 200
