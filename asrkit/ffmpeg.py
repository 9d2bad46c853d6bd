"""Recordings that only ffmpeg reads, decoded by its program in a process of its own."""

from __future__ import annotations

import importlib.util
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from typing import IO

import numpy as np

from asrkit.errors import AudioError

__all__ = ["FFmpeg", "find_ffmpeg"]

BLOCK = 1 << 16
"""Bytes that are read at once, about."""

CONTAINERS = (
    *("mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "asf", "flv", "mpeg", "mpegts", "rm"),
    *("aac", "ac3", "eac3", "aiff", "amr", "amrnb", "amrwb", "ape", "au", "caf", "dts", "flac", "mp3", "ogg", "tak"),
    *("tta", "w64", "wav", "wv"),
)
"""Formats that hold sound themselves, by ffmpeg's names; lists of other files are not among them."""

AU_FLOAT = 6
"""Encoding of 32-bit floats in the header of Sun's audio format."""


def find_ffmpeg() -> str | None:
    """The program ``ffmpeg``: the one on the search path, else that of the package imageio-ffmpeg, else None."""
    found = shutil.which("ffmpeg")
    if found is None and importlib.util.find_spec("imageio_ffmpeg") is not None:
        import imageio_ffmpeg

        with suppress(RuntimeError):  # it has none for this system
            found = imageio_ffmpeg.get_ffmpeg_exe()
    return found


class FFmpeg:
    """The first audio track of a file as blocks of samples.

    Args:
        program: the path of ffmpeg.
        path: of the file.
        offset: seconds from which it is decoded.

    Raises:
        AudioError: ffmpeg cannot decode the file, or it has no audio.
    """

    def __init__(self, program: str, path: str, offset: float = 0.0) -> None:
        self.problem: str | None = None
        """What ffmpeg complained about, once the blocks have been read."""
        command = [program, "-nostdin", "-hide_banner", "-loglevel", "error"]
        # A stranger's file may be a playlist that names other files or addresses: nothing but the file is opened.
        command += ["-protocol_whitelist", "file", "-format_whitelist", ",".join(CONTAINERS)]
        command += [*(("-ss", str(offset)) if offset else ()), "-i", f"file:{path}"]
        # Sun's format, because its header needs no length: what comes after it may be any number of samples.
        command += ["-map", "0:a:0", "-vn", "-sn", "-dn", "-f", "au", "-c:a", "pcm_f32be", "pipe:1"]
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the process
        try:
            # A terminal sends Ctrl-C to every process of a group; what is being read is to be read to its end.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                process_group=0,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        except OSError as error:
            self._errors.close()
            raise AudioError(f"{program} cannot be started: {error.strerror or error}") from error
        try:
            self.rate, self.channels = self._header()
        except BaseException:
            self.close()
            raise

    @property
    def _output(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    def _header(self) -> tuple[int, int]:
        head = self._output.read(24)
        if len(head) < 24:
            self._process.wait()
            raise AudioError(self._complaint() or "no audio in it")
        magic, start, _, encoding, rate, channels = struct.unpack(">4s5I", head)
        if magic != b".snd" or encoding != AU_FLOAT:
            raise AudioError("ffmpeg gave what was not asked for")
        self._output.read(start - 24)
        return rate, channels

    def blocks(self) -> Iterator[np.ndarray]:
        """(S, channels) float32, one after another."""
        width = 4 * self.channels
        while data := self._output.read(max(BLOCK // width, 1) * width):
            whole = len(data) // width * width
            yield np.frombuffer(data[:whole], ">f4").astype(np.float32).reshape(-1, self.channels)
        if self._process.wait() != 0:
            self.problem = self._complaint() or f"ffmpeg ended with {self._process.returncode}"

    def _complaint(self) -> str:
        """The last line ffmpeg wrote about the file, without the address of the part that wrote it."""
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "")
        if "matches no streams" in " ".join(lines):
            return "it has no audio track"
        return last.rpartition("] ")[2].rpartition(": ")[2].strip().rstrip(".")

    def close(self) -> None:
        """End the process, whether it is done or not."""
        if self._process.poll() is None:
            self._process.kill()
        self._output.close()
        self._process.wait()
        self._errors.close()
