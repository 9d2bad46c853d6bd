"""Holds the parts of the host world to their interfaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from asrkit.errors import CheckpointError, OptionError
from asrkit.interfaces import Aligner, Checkpoint, Dialect, Frontend, Segmenter, Tokenizer
from asrkit.options import option_names
from asrkit.values import Clip, Clock, Heard, Hypothesis, Passage

__all__ = [
    "check_aligner",
    "check_checkpoint",
    "check_dialect",
    "check_frontend",
    "check_segmenter",
    "check_tokenizer",
    "noise",
]


def noise(seconds: float, rate: int, seed: int = 0) -> np.ndarray:
    """(S,) float32: a few gliding tones under noise, different for every seed."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    tones = sum(np.sin(2 * np.pi * f * time * (1 + 0.1 * time)) for f in rng.uniform(80, 0.2 * rate, 4))
    return (0.1 * tones + 0.02 * rng.standard_normal(len(time))).astype(np.float32)


def check_frontend(frontend: Frontend, atol: float = 1e-6) -> None:
    """Shapes, dtypes, widths, and that a row in a batch is what it is alone."""
    assert isinstance(frontend.rate, int), "rate must be a whole number of Hz"
    assert frontend.hop > 0, "hop must be in seconds"
    waveforms = [noise(seconds, frontend.rate, n) for n, seconds in enumerate((1.3, 0.2, 2.7))]
    batch = frontend(waveforms)
    assert batch.values.dtype == np.float32, f"features are {batch.values.dtype}, expected float32"
    assert batch.values.shape[0] == len(waveforms), "one row a waveform"
    for n, waveform in enumerate(waveforms):
        alone = frontend([waveform])
        width = alone.values.shape[1]
        valid = int(alone.lengths[0])
        assert frontend.frames(len(waveform)) == width, f"frames() is not the width {width} of the features"
        assert 0 <= valid <= width, f"{valid} of {width} frames valid"
        assert batch.lengths[n] == valid, "a row's length depends on its neighbours"
        worst = np.abs(batch.values[n, :width] - alone.values[0]).max()
        assert worst <= atol, f"a row depends on its neighbours: {worst:.3g}"
        assert not batch.values[n, valid:].any(), "frames beyond a row's length must be zero"
        assert 0 <= frontend.lead(len(waveform)) < frontend.rate * 60, "lead() is a number of samples"


def check_tokenizer(tokenizer: Tokenizer, texts: Mapping[str | None, Sequence[str]]) -> None:
    """Ids in range, pieces for all of them, and texts that come back.

    Args:
        texts: by language (None where there is only one vocabulary), texts that consist of known pieces.
    """
    pieces = [tokenizer.piece(id_) for id_ in range(tokenizer.size)]
    assert all(isinstance(piece, str) for piece in pieces), "every id has a piece"
    assert tokenizer.decode([]) == "", "no ids, no text"
    assert tokenizer.token("no such token") is None, "token() gives None for an unknown piece"
    for language, samples in texts.items():
        for text in samples:
            ids = tokenizer.encode(text, language)
            assert all(0 <= id_ < tokenizer.size for id_ in ids), f"ids of {text!r} are out of range: {ids}"
            assert tokenizer.decode(ids).strip() == text, f"{text!r} came back as {tokenizer.decode(ids)!r}"


def check_dialect(dialect: Dialect, size: int, prompted: bool = True) -> None:
    """Prompts in range, requests with room, readable answers, loud refusals.

    Args:
        size: V, the decoder's classes.
        prompted: whether the decoder takes a prompt and goes on until a token ends it; CTC and transducers do not.
    """
    options, _ = dialect.resolve({})
    assert isinstance(options, dialect.Options), "resolve() gives the dialect's Options"
    for language in dialect.languages:
        chosen, _ = dialect.resolve({"language": language})
        prompt = dialect.prompt(chosen)
        assert bool(prompt) is prompted, f"{'empty' if prompted else 'a'} prompt for {language!r}"
        assert all(0 <= id_ < size for id_ in prompt), f"prompt ids out of range: {prompt}"
    request = dialect.request(options, 100)
    assert request.limit > 0, "a clip of 100 frames must have room for text"
    assert bool(request.stops) is prompted, "something must end a row: a token, or the frames"
    assert request.prompt == dialect.prompt(options), "request() and prompt() disagree"
    assert all(0 <= id_ < size for id_ in dialect.wordless(options)), "wordless() gives ids of the decoder"
    try:
        timed = dialect.timed(options)
    except OptionError:
        pass
    else:
        assert isinstance(timed, dialect.Options), "timed() gives the dialect's Options"
        assert dialect.timed(timed) == timed, "timed() of its own result changes nothing"
    for tokens in ((), tuple(range(min(size, 8)))):
        passage = dialect.read(Hypothesis(tokens, (-0.5,) * len(tokens), True), Clock(0.08, 0.0, 8.0), options)
        assert isinstance(passage, Passage), "read() gives a Passage"
        assert passage.text == passage.text.strip(), "text has no outer spaces"
        for segment in passage.segments:
            assert 0 <= segment.start <= segment.end <= 8.0, f"{segment} lies outside the recording"
            times = [time for word in segment.words for time in (word.start, word.end)]
            assert times == sorted(times), f"times of words go back: {segment.words}"
    assert "no_such_option" not in option_names(dialect.Options)
    for wishes in ({"language": "no such language"}, {"no_such_option": 1}):
        _refused(lambda wishes=wishes: dialect.resolve(wishes), OptionError, f"resolve({wishes})")


def check_segmenter(segmenter: Segmenter, rate: int = 16000, samples: np.ndarray | None = None) -> None:
    """Clips in order, inside the recording and of a bearable length, the same for blocks of any size; silence may be
    left out. What two clips have both heard is said once.

    Args:
        rate: Hz.
        samples: (S,) float32, 25 s with something in it that the segmenter takes for speech; by default tones.
    """
    samples = noise(25.0, rate) if samples is None else samples
    clips = list(segmenter.split(iter([samples]), rate, 10.0))
    assert clips, "a recording with sound gives clips"
    starts = [clip.start for clip in clips]
    assert starts == sorted(starts), "clips come in order"
    for clip in clips:
        first = round(clip.start * rate)
        assert np.array_equal(clip.samples, samples[first : first + len(clip.samples)]), "clips are not copies"
        assert clip.seconds == len(clip.samples) / rate, "a clip knows its length"
        for start, end in clip.spans or ():
            assert clip.start <= start < end <= clip.start + clip.seconds + 1e-6, (
                f"({start}, {end}) is outside its clip"
            )
    blocks = [samples[start : start + 1111] for start in range(0, len(samples), 1111)]
    again = list(segmenter.split(iter(blocks), rate, 10.0))
    assert [(c.start, c.seconds, c.spans) for c in again] == [(c.start, c.seconds, c.spans) for c in clips], (
        "the size of blocks changes the clips"
    )
    assert isinstance(segmenter.listens, bool), "listens says whether its clips tell where somebody speaks"
    if segmenter.listens:
        assert all(clip.spans is not None for clip in clips), "a segmenter that listens gives spans, if empty ones"
    left = Heard(Clip(samples[:rate], rate=rate), Passage("one two three", "", (1,)))
    apart = Heard(Clip(samples[rate : 2 * rate], 1.0, rate=rate), Passage("four", "", (2,)))
    assert segmenter.part(left, apart) == (left, apart), "clips that share nothing keep their text"
    shared = Clip(samples[rate // 2 : 2 * rate], 0.5, overlap=0.5, rate=rate)
    parted = segmenter.part(left, Heard(shared, Passage("two three four", "", (2,))))
    joined = " ".join(heard.passage.text for heard in parted).strip()
    assert joined == "one two three four", f"what two clips heard both is said once, found {joined!r}"


def check_aligner(aligner: Aligner, rate: int = 16000, texts: Sequence[str] = ("a b c", "a")) -> None:
    """Words of the texts in their order, with times that do not go back and lie in the waveform, the same for a row
    in a batch and alone; no words for no text.

    Args:
        rate: Hz.
        texts: of which the aligner can place some words.
    """
    texts = [*texts, ""]
    waveforms = [noise(1.3 + n, rate, n) for n in range(len(texts))]
    found = aligner(waveforms, texts)
    assert len(found) == len(texts), "one row a text"
    for waveform, text, words in zip(waveforms, texts, found, strict=True):
        left = iter(text.split())
        assert all(word.text in left for word in words), f"words are not those of {text!r} in their order: {words}"
        times = [time for word in words for time in (word.start, word.end)]
        assert times == sorted(times), f"times of words go back: {words}"
        assert all(0 <= time <= len(waveform) / rate for time in times), f"times lie outside the waveform: {words}"
        (alone,) = aligner([waveform], [text])
        assert [word.text for word in alone] == [word.text for word in words], "a row depends on its neighbours"
        apart = [
            abs(a - b)
            for one, other in zip(alone, words, strict=True)
            for a, b in ((one.start, other.start), (one.end, other.end))
        ]
        assert max(apart, default=0.0) < 1e-6, "a row depends on its neighbours"


def check_checkpoint(checkpoint: Checkpoint) -> None:
    """Configuration, tensors and files can be read, and nothing that is not there."""
    assert isinstance(checkpoint.config, Mapping), "config is a mapping"
    tensors = checkpoint.tensors()
    assert list(tensors), "a checkpoint has tensors"
    for name in tensors:
        tensor = tensors[name]
        assert isinstance(tensor, np.ndarray), f"{name} is a {type(tensor).__name__}"
        assert not tensor.flags.writeable, f"{name} can be written to"
    for name in checkpoint.files():
        assert isinstance(checkpoint.file(name), bytes), f"{name} is not bytes"
    _refused(lambda: checkpoint.file("no such file"), CheckpointError, "file() of a missing name")


def _refused(call: Any, error: type[Exception], label: str) -> None:
    try:
        call()
    except error:
        return
    raise AssertionError(f"{label} must raise {error.__name__}")
