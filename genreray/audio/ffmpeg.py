"""m4a, aac, wma and the rest, read by FFmpeg."""

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import av
import numpy as np

from genreray.audio.clips import Clip, Finish, Samples, check_format, starts, to_mono
from genreray.audio.source import Source
from genreray.errors import Status, TrackError

_PREROLL = 0.5  # seconds decoded before the place wanted, which codecs that overlap their packets need
# What FFmpeg may take a file for. Playlists are not among these: they make it open other files and URLs.
_CONTAINERS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,iff,latm,loas,matroska,mov,mp3,mpc,mpc8,mpeg,mpegts,"
    "oga,ogg,oma,rm,shn,tak,truehd,tta,voc,w64,wav,wv"
)


def read(source: Source, duration: float, n: int, finish: Finish, reason: Exception) -> list[Clip | TrackError]:
    """Return what `finish` makes of each of at most `n` clips.

    The packets are walked through twice: for the length, which containers leave out or get wrong, then to the last
    clip, and only those of clips are decoded. That is quick beside decoding, and needs neither a seek nor an index to
    be right. Raises TrackError where there is no sound, or FFmpeg cannot read it; `reason` is why libsndfile did not.
    """
    try:
        with _open(source) as container:
            first, end = _extent(container, _audio_stream(container))
        # Of times that jump, clips that are not whole are left out; where none is, there is what can be had.
        whole = _decode(source, first, starts(first, end, duration, n), duration, finish)
        return whole or _decode(source, first, [first], duration, finish)
    except av.FFmpegError as error:
        ffmpeg = error.strerror or type(error).__name__
        raise TrackError(Status.UNDECODABLE, f"not audio that can be read (FFmpeg: {ffmpeg})") from reason


def _open(source: Source) -> Any:
    source.seek(0)
    return av.open(source, metadata_errors="replace", container_options={"format_whitelist": _CONTAINERS})


def _audio_stream(container: Any) -> Any:
    stream = container.streams.best("audio")
    if stream is None:
        raise TrackError(Status.UNDECODABLE, "no audio stream")
    if stream.codec_context is None:
        raise TrackError(Status.UNDECODABLE, "no decoder for its codec")
    return stream


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    """Yield the packets of a stream as far as they can be read, and the empty one that ends them."""
    packets = container.demux(stream)
    while True:
        try:
            yield next(packets)
        except StopIteration:
            return
        except (av.FFmpegError, IndexError):  # cut off, or (PyAV) a stream that only begins further on
            return


def _extent(container: Any, stream: Any) -> tuple[float, float]:
    """Return the times in seconds at which a stream's packets begin and end."""
    first, end = None, 0
    for packet in _packets(container, stream):
        if packet.size:
            pts = end if packet.pts is None else packet.pts
            first = max(0, pts) if first is None else first  # before 0 is what the encoder put in front
            end = max(end, pts + (packet.duration or 0))
    return float((first or 0) * stream.time_base), float(end * stream.time_base)


def _decode(
    source: Source, first: float, places: Sequence[float], duration: float, finish: Finish
) -> list[Clip | TrackError]:
    """Return the clips at `places`, in seconds, of a stream that begins at `first`; but for those cut off there."""
    made: list[Clip | TrackError] = []
    with _open(source) as container:
        frames = _Frames(container, _audio_stream(container))
        for start in places:
            try:
                y, native_sr = frames.clip(start, duration)
            except TrackError as fault:
                made.append(fault)
                continue
            if start == first or len(y) / native_sr >= duration:
                made.append(finish(start - first, y, native_sr))
    return made


class _Frames:
    """What a stream decodes to where it is wanted, from one place to a later one; a damaged packet is left out."""

    def __init__(self, container: Any, stream: Any) -> None:
        self._stream = stream
        self._earliest = 0.0  # seconds; packets before that are passed over
        self._frames = self._decoded(container)
        self._last: Any = None  # the frame in which the last clip ended

    def _decoded(self, container: Any) -> Iterator[Any]:
        has_begun = has_gap = False
        for packet in _packets(container, self._stream):
            tick = self._earliest / self._stream.time_base
            if packet.pts is not None and packet.pts + (packet.duration or 0) < tick:
                has_gap = True
                continue
            if has_begun and has_gap:
                self._stream.codec_context.flush_buffers()  # what comes does not follow from what was before
            has_begun, has_gap = True, False
            with contextlib.suppress(av.FFmpegError):
                yield from packet.decode()

    def clip(self, start: float, duration: float) -> tuple[Samples, int]:
        """Return mono [n_samples] and its rate, from `start` seconds on, which is not before the end of the last clip.

        Raises TrackError where there is nothing, or what makes no sense.
        """
        self._earliest = start - _PREROLL
        blocks: list[Samples] = []
        native_sr = wanted = kept = position = 0  # position: of the next sample, counted from `start`
        for frame in itertools.chain(self._left(start), self._frames):
            if not native_sr:
                native_sr = frame.sample_rate
                check_format(native_sr, frame.layout.nb_channels)
                wanted = round(duration * native_sr)
            if frame.sample_rate != native_sr:
                raise TrackError(Status.UNDECODABLE, f"rate changes from {native_sr} to {frame.sample_rate} Hz")
            if not kept and frame.pts is not None:
                position = round((float(frame.pts * frame.time_base) - start) * native_sr)
            y = _frame_to_mono(frame)[max(0, -position) :]
            position += frame.samples
            if len(y):
                blocks.append(y)
                kept += len(y)
            if kept >= wanted:
                self._last = frame
                break
        if not kept:
            raise TrackError(Status.UNDECODABLE, "no audio frames")
        return np.concatenate(blocks)[:wanted], native_sr

    def _left(self, start: float) -> list[Any]:
        """Return the frame in which the last clip ended, where it reaches beyond `start`."""
        last = self._last
        if last is None or last.pts is None:
            return []
        end = float(last.pts * last.time_base) + last.samples / last.sample_rate
        return [last] if end > start else []


def _frame_to_mono(frame: Any) -> Samples:
    """Return the mean of a frame's channels, float32 [n_samples], integers scaled to [-1, 1)."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.dtype.kind == "f":
        return to_mono(samples.astype(np.float32, copy=False).T)
    half = np.float32(2.0 ** (8 * samples.dtype.itemsize - 1))
    middle = half if samples.dtype.kind == "u" else np.float32(0)
    return to_mono(((samples.astype(np.float32) - middle) / half).T)
