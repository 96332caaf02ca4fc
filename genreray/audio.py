"""An audio file -> y: mono float32 at `sr`, at most `duration` seconds from the middle."""

import contextlib
import io
import math
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

import av
import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

from genreray.errors import Status, TrackError

MIN_DURATION = 3.0  # seconds
SILENCE = 1e-4  # peak amplitude, -80 dBFS: what 16-bit dither leaves of digital silence
LOUDEST = 1e6  # peak amplitude; a float file with more is damaged, and its power would overflow float32
MOST_READ = 2**31  # bytes of one file that are read; formats that must be walked through can be of any size
_MAX_CHANNELS = 32
_SAMPLE_RATES = range(1_000, 768_001)  # Hz; beyond these a header is taken for damaged
_BLOCK = 2 * 30 * 44_100  # samples of all channels read at a time: a clip at once, many channels in little memory
_PREROLL = 0.5  # seconds decoded before the place wanted, which codecs that overlap their packets need
# What FFmpeg may take a file for. Playlists are not among these: they make it open other files and URLs.
_CONTAINERS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,iff,latm,loas,matroska,mov,mp3,mpc,mpc8,mpeg,mpegts,"
    "oga,ogg,oma,rm,shn,tak,truehd,tta,voc,w64,wav,wv"
)
# The header in an MPEG file's first frame, with the flag that says the number of frames follows.
_MPEG_LENGTH = re.compile(rb"(?:Xing|Info)\0\0\0[\x01\x03\x05\x07\x09\x0b\x0d\x0f]")

Samples = NDArray[np.float32]


class _Source:
    """A file as decoders see it, who ask for whatever a header says; what it raises is kept: they would hide it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        # libsndfile asks for each frame of an mp3: what is in memory, where nothing fails, is read without detour.
        self.readinto = file.readinto if isinstance(file, io.BytesIO) else self._readinto
        self._left = MOST_READ
        self.fault: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, none where that fails."""
        content = b""
        try:
            content = self._file.read(size)
            self._left -= len(content)
        except Exception as error:
            self.fault = self.fault or error
        return content if self._goes_on() else b""

    def _readinto(self, room: Any) -> int:
        """Fill `room` with the next bytes and return how many there were, none where that fails.

        soundfile tries this first: `read` would cost 6 % of decoding.
        """
        count = 0
        try:
            count = self._file.readinto(room)  # type: ignore[attr-defined]
            self._left -= count
        except Exception as error:
            self.fault = self.fault or error
        return count if self._goes_on() else 0

    def _goes_on(self) -> bool:
        if self._left < 0 and self.fault is None:
            self.fault = TrackError(Status.TOO_LARGE, f"more than {MOST_READ >> 20:,} MiB would have to be read")
        return self.fault is None

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go there, or to the beginning where that lies before it."""
        try:
            return self._file.seek(max(0, offset) if whence == io.SEEK_SET else offset, whence)
        except (ValueError, OSError):  # before the beginning, counted from elsewhere, or beyond all bounds
            return self._file.tell()

    def tell(self) -> int:
        """Return the place of the next byte."""
        return self._file.tell()


class _CannotReadError(Exception):
    """libsndfile cannot read the file, or not well: FFmpeg should."""


def decode(file: bytes | BinaryIO, sr: int, duration: float) -> Samples:
    """Decode a whole file, its bytes or itself, to y: float32 [n_samples], mono, at `sr` Hz.

    A longer track gives its middle `duration` seconds, as Free Music Archive clips are cut; no more than these are
    decoded. Channels are averaged and then resampled (soxr HQ), in the order and with the length of `librosa.load`.

    Raises TrackError (empty, undecodable, too_short, silent, too_large), and what reading the file raises.
    """
    y, native_sr = _read(_Source(io.BytesIO(file) if isinstance(file, bytes) else file), duration)
    seconds = len(y) / native_sr
    if seconds < MIN_DURATION:
        raise TrackError(Status.TOO_SHORT, f"{seconds:.2f} s of audio, less than {MIN_DURATION:g} s")
    peak = float(max(y.max(), -y.min()))  # NaN where there is one
    if not peak <= LOUDEST:  # nor is NaN
        raise TrackError(Status.UNDECODABLE, f"peak amplitude {peak:.1e}")
    if peak < SILENCE:
        raise TrackError(Status.SILENT, f"peak amplitude {peak:.1e}")
    return _resample(y, native_sr, sr)[: round(duration * sr)]


def _read(source: _Source, duration: float) -> tuple[Samples, int]:
    """Return mono [n_samples] and its rate."""
    try:
        if not source.read(1):
            raise TrackError(Status.EMPTY, "file has no bytes")
        try:
            return _read_soundfile(source, duration)
        except _CannotReadError as reason:
            return _read_ffmpeg(source, duration, reason)
    finally:
        if source.fault is not None:
            raise source.fault


def _read_soundfile(source: _Source, duration: float) -> tuple[Samples, int]:
    """Return mono [n_samples] and its rate, read by libsndfile (mp3, flac, ogg, opus, wav, aiff)."""
    try:
        source.seek(0)
        with sf.SoundFile(source) as file:
            _check_format(file.samplerate, file.channels)
            if file.format == "MP3" and not _tells_length(source):
                raise _CannotReadError("length unknown")
            wanted = round(duration * file.samplerate)
            start = max(0, (file.frames - wanted) // 2)
            y = _read_at(file, start, wanted)
            if start and len(y) < wanted:
                # The header promises more than the file holds: the middle is that of what is there.
                start = max(0, (_count_frames(file) - wanted) // 2)
                y = _read_at(file, start, wanted)
            return y, file.samplerate
    except sf.LibsndfileError as error:
        raise _CannotReadError(str(error.error_string).rstrip(".")) from None


def _tells_length(mpeg: _Source) -> bool:
    """Return whether an MPEG file says how long it is; libsndfile's guess from its size may be far off."""
    place, start = mpeg.tell(), 0
    while mpeg.seek(start) == start and (head := mpeg.read(10))[:3] == b"ID3":
        a, b, c, d = head[6:].ljust(4, b"\0")
        start += 10 + (a << 21 | b << 14 | c << 7 | d)  # seven bits a byte
    mpeg.seek(start)
    found = _MPEG_LENGTH.search(mpeg.read(64))
    mpeg.seek(place)
    return found is not None


def _read_at(file: sf.SoundFile, start: int, count: int) -> Samples:
    file.seek(start)
    frames = _BLOCK // file.channels
    blocks: list[Samples] = []
    while count > 0 and len(y := _to_mono(file.read(min(count, frames), dtype="float32", always_2d=True))):
        blocks.append(y)
        count -= len(y)
    return blocks[0] if len(blocks) == 1 else np.concatenate([np.empty(0, np.float32), *blocks])


def _count_frames(file: sf.SoundFile) -> int:
    file.seek(0)
    block = np.empty((_BLOCK // file.channels, file.channels), np.float32)
    total = 0
    while count := len(file.read(out=block)):
        total += count
    return total


def _check_format(native_sr: int, n_channels: int) -> None:
    if native_sr not in _SAMPLE_RATES or not 1 <= n_channels <= _MAX_CHANNELS:
        raise TrackError(Status.UNDECODABLE, f"header claims {n_channels} channels at {native_sr} Hz")


def _read_ffmpeg(source: _Source, duration: float, reason: Exception) -> tuple[Samples, int]:
    """Return mono [n_samples] and its rate, read by FFmpeg (m4a/aac, wma and the rest).

    The packets are walked through twice: for the length, which containers leave out or get wrong, then to the middle,
    where decoding begins. That is quick beside decoding, and needs neither a seek nor an index to be right.
    """
    try:
        with _open(source) as container:
            first, end = _extent(container, _audio_stream(container))
        start = max(first, (first + end - duration) / 2)
        y, native_sr = _decode_from(source, start, duration)
        if start > first and len(y) / native_sr < duration:  # times that jump
            y, native_sr = _decode_from(source, first, duration)
        return y, native_sr
    except av.FFmpegError as error:
        ffmpeg = error.strerror or type(error).__name__
        raise TrackError(Status.UNDECODABLE, f"not audio that can be read (FFmpeg: {ffmpeg})") from reason


def _open(source: _Source) -> Any:
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


def _decode_from(source: _Source, start: float, duration: float) -> tuple[Samples, int]:
    """Return mono [n_samples] and its rate, from `start` seconds on."""
    blocks: list[Samples] = []
    native_sr = wanted = kept = position = 0  # position: of the next sample, counted from `start`
    with _open(source) as container:
        for frame in _frames(container, _audio_stream(container), start - _PREROLL):
            if not native_sr:
                native_sr = frame.sample_rate
                _check_format(native_sr, frame.layout.nb_channels)
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
                break
    if not kept:
        raise TrackError(Status.UNDECODABLE, "no audio frames")
    return np.concatenate(blocks)[:wanted], native_sr


def _frames(container: Any, stream: Any, earliest: float) -> Iterator[Any]:
    """Yield what the packets from `earliest` seconds on decode to; a damaged packet is left out."""
    tick = earliest / stream.time_base
    for packet in _packets(container, stream):
        if packet.pts is None or packet.pts + (packet.duration or 0) >= tick:
            with contextlib.suppress(av.FFmpegError):
                yield from packet.decode()


def _frame_to_mono(frame: Any) -> Samples:
    """Return the mean of a frame's channels, float32 [n_samples], integers scaled to [-1, 1)."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.dtype.kind == "f":
        return _to_mono(samples.astype(np.float32, copy=False).T)
    half = np.float32(2.0 ** (8 * samples.dtype.itemsize - 1))
    middle = half if samples.dtype.kind == "u" else np.float32(0)
    return _to_mono(((samples.astype(np.float32) - middle) / half).T)


def _to_mono(samples: Samples) -> Samples:
    """Return the mean over channels of [n_samples, n_channels]."""
    n_channels = samples.shape[1]
    if n_channels == 2:  # numpy's mean over an axis of two is ten times slower than this
        both: Samples = samples[:, 0] + samples[:, 1]
        both *= np.float32(0.5)
        return both
    mono: Samples = samples.mean(axis=1, dtype=np.float32) if n_channels > 1 else samples[:, 0]
    return mono


def _resample(y: Samples, native_sr: int, sr: int) -> Samples:
    if native_sr == sr:
        return y
    length = math.ceil(len(y) * sr / native_sr)
    resampled: Samples = soxr.resample(y, native_sr, sr, quality="HQ")
    if len(resampled) < length:
        return np.pad(resampled, (0, length - len(resampled)))
    return resampled[:length]
