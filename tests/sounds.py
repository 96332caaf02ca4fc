"""Sounds that are known exactly, their bytes in every format that is read, and how to find them again."""

import functools
import hashlib
import io

import av
import numpy as np
import scipy.signal
import soundfile as sf

FORMATS = {
    "wav": ("WAV",),
    "flac": ("FLAC",),
    "ogg": ("OGG",),
    "mp3": ("MP3",),
    "aiff": ("AIFF",),
    "opus": ("OGG", "OPUS"),
}
# What libsndfile cannot read.
FFMPEG = {
    "m4a": ("ipod", "aac"),
    "alac": ("ipod", "alac"),
    "aac": ("adts", "aac"),  # no duration but a guess
    "wma": ("asf", "wmav2"),
    "mka": ("matroska", "aac"),  # no duration of the stream
    "webm": ("webm", "libopus"),
    "tta": ("tta", "tta"),  # packets of a second
}


# Formats whose files carry tags: the FFmpeg muxer and codec, none where libsndfile writes them.
TAGGED = {
    "mp3": ("mp3", "libmp3lame"),
    "flac": ("flac", "flac"),
    "ogg": None,
    "oga": ("oga", "flac"),
    "opus": ("opus", "libopus"),
    "wav": ("wav", "pcm_s16le"),
    "aiff": ("aiff", "pcm_s16be"),
    "m4a": ("ipod", "aac"),
    "wma": ("asf", "wmav2"),
}


def tone(sr=22050, seconds=4.0, freq=440.0, channels=1, amplitude=0.5):
    """Return a sine, float32 [n_samples] or [n_samples, channels]."""
    y = (amplitude * np.sin(2 * np.pi * freq * np.arange(round(sr * seconds)) / sr)).astype(np.float32)
    return y if channels == 1 else np.repeat(y[:, None], channels, axis=1)


@functools.cache
def noise(sr=22050, seconds=4.0, channels=1, seed=0):
    """Return noise below 3 kHz, which lossy codecs keep and no two places of which are alike, shaped as `tone`."""
    white = np.random.RandomState(seed).normal(size=(round(sr * seconds), channels))
    y = scipy.signal.lfilter(*scipy.signal.butter(4, 3000, fs=sr), white, axis=0)
    y = (0.2 * y / y.std()).astype(np.float32)
    y.flags.writeable = False
    return y[:, 0] if channels == 1 else y


def encode(y, sr, format, subtype=None, **options):
    """Return `y` as the bytes of a file, written by libsndfile."""
    buffer = io.BytesIO()
    y = y if y.ndim == 2 else y[:, None]
    with sf.SoundFile(buffer, "w", sr, y.shape[1], format=format, subtype=subtype, **options) as file:
        for i in range(0, len(y), 1 << 14):  # its Vorbis encoder crashes on long blocks
            file.write(y[i : i + (1 << 14)])
    return buffer.getvalue()


def encode_ffmpeg(y, sr, format, codec, layout=None, options=None, vbr=False, begin=0, **tags):
    """Return `y` as the bytes of a file, written by FFmpeg."""
    buffer = io.BytesIO()
    y = y if y.ndim == 2 else y[:, None]
    layout = layout or {1: "mono", 2: "stereo"}[y.shape[1]]
    with av.open(buffer, "w", format=format, container_options=options or {}) as container:
        container.metadata.update(tags)
        stream = container.add_stream(codec, rate=sr, layout=layout)
        if vbr:
            stream.options = {"flags": "+qscale", "global_quality": str(4 * 118)}  # LAME's -V 4
        else:
            stream.bit_rate = 64_000 * y.shape[1]
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(y.T), format="fltp", layout=layout)
        frame.sample_rate, frame.pts = sr, begin * sr
        context = stream.codec_context
        context.open()
        resampler = av.AudioResampler(context.format, layout, sr, context.frame_size or 1024)
        for part in (*resampler.resample(frame), *resampler.resample(None), None):
            container.mux(stream.encode(part))
    return buffer.getvalue()


@functools.cache
def tagged(format, genre=None, seconds=1.0):
    """Return a sound as the bytes of a file with a title and, where given, a genre in its tags."""
    sr, tags = 48000, {"title": "Täst", **({"genre": genre} if genre else {})}
    y = noise(sr, seconds)
    if TAGGED[format] is not None:
        options = {"write_id3v2": "1"} if format == "aiff" else {}
        return encode_ffmpeg(y, sr, *TAGGED[format], options=options, **tags)
    buffer = io.BytesIO()
    with sf.SoundFile(buffer, "w", sr, 1, format=format) as file:
        for name, text in tags.items():
            setattr(file, name, text)
        for i in range(0, len(y), 1 << 14):
            file.write(y[i : i + (1 << 14)])
    return buffer.getvalue()


def tags_of(path):
    """Return the tags that FFmpeg finds in a file, by names in lower case."""
    with av.open(str(path), metadata_errors="replace") as container:
        found = {**container.metadata, **container.streams.audio[0].metadata}
    return {name.lower(): text for name, text in found.items()}


def audio_hash(path):
    """Return a hash of all samples that FFmpeg decodes from a file."""
    found = hashlib.sha256()
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            found.update(frame.to_ndarray().tobytes())
    return found.hexdigest()


def video(sound):
    """Black frames, with a sound or without, as mp4."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        pictures = container.add_stream("mpeg4", rate=10, width=64, height=64, pix_fmt="yuv420p")
        track = None if sound is None else container.add_stream("aac", rate=16000, layout="mono")
        for i in range(40):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            frame.pts = i
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode(None))
        if track is not None:
            frame = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, 0
            for part in (*av.AudioResampler("fltp", "mono", 16000, 1024).resample(frame), None):
                container.mux(track.encode(part))
    return buffer.getvalue()


@functools.cache
def samples(format, seconds):
    """A known sound in mono, its rate, and its bytes in stereo."""
    sr = 48000 if format in ("opus", "webm") else 22050
    y = noise(sr, seconds)[:, None] * np.float32([1.0, 0.5])
    if format in FFMPEG:
        return y.mean(axis=1), sr, encode_ffmpeg(y, sr, *FFMPEG[format])
    return y.mean(axis=1), sr, encode(y, sr, *FORMATS[format])


def offset_and_gain(y, truth, sr, at, reach=0.3):
    """By how many seconds `y` lags behind `truth` from `at` seconds on, and its level against it."""
    reach = round(reach * sr)
    start = round(at * sr)
    part = y[reach : reach + 2 * sr]
    there = truth[start : start + 2 * sr + 2 * reach]
    place = int(np.argmax(scipy.signal.correlate(there, part, "valid", method="fft")))
    match = there[place : place + len(part)]
    return (reach - place) / sr, float(part @ match / (match @ match))
