"""The page on which a person looks through TAGS, hears the most doubtful tracks and says what they are."""

import base64
import dataclasses
import hashlib
import json
import posixpath
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from genreray import doubt, links, pages, parts, plots, report, storage, tables
from genreray.doubt import Overview, Row
from genreray.errors import Status, UserError
from genreray.outputs import Wanted
from genreray.outputs.answers import View
from genreray.parts import Parts
from genreray.predictions import PREDICTIONS_FOLDER, REVIEW_FILE

DEFAULT_TRACKS = 500
_MOST_TRACKS = 20_000  # some 10 MB, and seconds to open
_SHOWN_GENRES = 4  # of a track, with a key each
_MARK = '<meta name="generator" content="genreray review">'  # what tells such a page from other files


@dataclasses.dataclass(frozen=True)
class Review:
    """A page that was written, and what it is of."""

    page: str  # its URI
    overview: Overview


@dataclasses.dataclass(frozen=True)
class About:
    """What the page says of itself."""

    tags: str  # TAGS, its absolute URI
    checkpoint: str = ""  # the fingerprint of the model
    map: str | None = None  # the names' URI
    min_confidence: float = 0.0
    genres: Sequence[str] = ()  # that can be chosen, beside those of the tracks


def write_page(
    tags_uri: str,
    page_uri: str | None = None,
    n_tracks: int = DEFAULT_TRACKS,
    *,
    map_uri: str | None = None,
    min_confidence: float = 0.0,
) -> Review:
    """Write the page of the `n_tracks` most doubtful tracks in TAGS, which needs no other file than the audio.

    It goes to `page_uri`, or by default to review.html in TAGS; an earlier page is replaced. Genres are shown and
    offered by the names in the map at `map_uri`, where there is one, and a track has none below `min_confidence`.
    Raises UserError where TAGS is none, where another file than such a page is there, and as `Wanted` and its view do.
    """
    if not 1 <= n_tracks <= _MOST_TRACKS:
        raise UserError(f"tracks is {n_tracks}: give 1 to {_MOST_TRACKS:,}, as a browser has to hold them")
    files = Parts(storage.join(tags_uri, PREDICTIONS_FOLDER), tables.PREDICTIONS).files()
    settings = parts.settings_of(files[:1]) if files else {}
    if settings.get("table") != "predictions":
        raise UserError(f"{tags_uri} holds no predictions: give a folder that `genreray tag` wrote")
    page = storage.absolute(page_uri or storage.join(tags_uri, REVIEW_FILE))
    _check_page(page)
    genres, view = _view(tags_uri, settings, Wanted(map=map_uri, min_confidence=min_confidence))
    found = doubt.overview(files, n_tracks, view)
    about = About(storage.absolute(tags_uri), str(settings.get("checkpoint", "")), map_uri, min_confidence, genres)
    storage.write_text(page, render(found, about, page))
    return Review(page, found)


def _view(tags_uri: str, settings: Mapping[str, Any], wanted: Wanted) -> tuple[list[str], View | None]:
    """Return the names of the model's genres, and how predictions are shown: None as they are."""
    genres: list[str] = settings.get("genres") or []
    if wanted.map is None and not wanted.min_confidence:
        return genres, None
    if not genres:
        raise UserError(f"{tags_uri} does not say which genres its model has: tag into another folder")
    tree = settings.get("tree")
    view = wanted.view(genres, len(genres) if tree is None else None, tree or {})
    if view.names is None:
        return genres, view
    return [name for name in map(view.names.name, genres) if name is not None], view


def _check_page(page: str) -> None:
    """Raise UserError where something else than an earlier page would be written over."""
    if storage.is_folder(page):
        raise UserError(f"{page} is a folder: give the name of the page, such as {storage.join(page, REVIEW_FILE)}")
    if not storage.is_file(page):
        return
    with storage.open_file(page) as file:
        if _MARK.encode() not in file.read(4096):
            raise UserError(f"{page} is there and is no page that review wrote: give another name")


def render(found: Overview, about: About, page: str) -> str:
    """Return the page as HTML; `page` is its absolute URI."""
    script = pages.source("review.js")
    folder = storage.parent(page)
    tracks = [_track(row, folder) for row in found.doubtful]
    sure = [row["confidence"] for row in found.doubtful if row["confidence"] is not None]
    n_ok = found.counts.get(Status.OK, 0)
    marks = {} if len(tracks) == n_ok else {"listed below: left of this": max(sure, default=0.0)}
    if about.min_confidence:
        marks["a genre from here on"] = about.min_confidence
    return pages.render(
        "review.html",
        mark=Markup(_MARK),
        about=about,
        o=found,
        n_tracks=sum(found.counts.values()),
        n_ok=n_ok,
        most=max((genre.tracks for genre in found.genres), default=1),
        statuses=report.status_rows(found.counts),
        histogram=Markup(plots.confidence_histogram(found.confidences.tolist(), marks)),
        is_all=len(tracks) == n_ok,
        surest=max(sure, default=None),
        n_keys=max((len(track["best"]) for track in tracks), default=0),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        media=_media([track["src"] for track in tracks]),
        data=_json({"key": _key(about.tags), "genres": _genres(found, about.genres), "tracks": tracks}),
    )


def _track(row: Row, folder: str) -> dict[str, Any]:
    """Return what the page's script needs of a track."""
    path = urllib.parse.unquote(row["uri"]) if row["uri"].startswith("file://") else row["uri"]
    name = posixpath.basename(path.rstrip("/")) or path
    track_id = row["track_id"]
    # Of a path the folder is left to be said, of any other id all of it.
    where = posixpath.dirname(track_id) if posixpath.basename(track_id) == name else track_id
    return {
        "id": track_id,
        "uri": row["uri"],
        "name": name,
        "where": where,
        "src": links.link(row["uri"], folder),
        "genre": row["genre"],
        "confidence": None if row["confidence"] is None else round(row["confidence"], 4),
        "best": [[best["genre"], round(best["probability"], 4)] for best in (row["genres"] or ())[:_SHOWN_GENRES]],
        "truth": row["true_genre"],
    }


def _genres(found: Overview, known: Sequence[str]) -> list[str]:
    """Return every genre that is known or that the predictions speak of, in the order of the alphabet."""
    of_tracks = (best["genre"] for row in found.doubtful for best in row["genres"] or ())
    names = {*known, *(genre.genre for genre in found.genres), *of_tracks}
    return sorted(names, key=lambda name: (name.casefold(), name))


def _key(tags: str) -> str:
    """Return the name under which a browser keeps the choices: pages on disk share one storage."""
    return f"genreray review {hashlib.sha256(tags.encode()).hexdigest()[:20]}"


def _media(sources: list[str | None]) -> str:
    """Return where the page may load sound from, as its content security policy says it."""
    origins = {links.origin(source) for source in sources if source is not None}
    return " ".join(["'self'", "file:", *sorted(filter(None, origins))])


def _json(value: Any) -> Markup:
    """Return `value` as JSON that can stand inside a <script>: in ASCII, without a sign that ends or opens one."""
    text = json.dumps(value, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)
