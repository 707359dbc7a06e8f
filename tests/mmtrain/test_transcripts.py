"""Recordings with transcripts, as people write them."""

from pathlib import Path

import numpy as np
import pytest

from mmtrain.data import transcripts
from mmtui.errors import InputError
from mmtui.pipeline import input_files
from mmtui.pipeline.assets.fetch import ignore_progress


def write_recordings(root: Path, transcript: str, encoding: str = "utf-8") -> Path:
    for name in ("a.wav", "b.wav", "deep/c.wav"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(input_files.encode_wav(np.zeros(1600, np.float32)))
    (root / "transcripts.tsv").write_text(transcript, encoding=encoding, newline="")
    return root


@pytest.mark.parametrize(
    ("transcript", "found", "notes"),
    [
        ("a.wav\thello\n", ["a.wav hello"], []),
        ("\ufeffa.wav\thello\r\nb.wav\tthere\r\n", ["a.wav hello", "b.wav there"], []),
        ("a.wav\tone\u2028line\n\n", ["a.wav one\u2028line"], []),
        ("deep/c.wav\thello", ["c.wav hello"], []),
        ("file\ttext\na.wav\thello\n", ["a.wav hello"], ["it is a header (first: line 1, 'file')"]),
        ("a.wav\thello\nb.wav\t...\n", ["a.wav hello"],
         ["its transcript has no words (first: line 2, 'b.wav')"]),
        ("a.wav\thello\nb.wav there\n", ["a.wav hello"], ["it has no tab (first: line 2)"]),
    ],
)  # fmt: skip
def test_transcripts_are_read_in_common_variants(tmp_path, transcript, found, notes):
    recordings, actual_notes = transcripts.load_recordings(
        write_recordings(tmp_path, transcript), None, ignore_progress
    )
    assert [f"{r.file.name} {r.text}" for r in recordings] == found
    assert actual_notes == [f"transcripts.tsv: 1 line skipped: {note}" for note in notes]


def test_missing_and_broken_sound_files_are_refused_by_name(tmp_path):
    root = write_recordings(tmp_path, "a.wav\thello\ngone.wav\tthere\n")
    with pytest.raises(InputError, match=r"1 of the 2 sound files .* such as 'gone.wav'"):
        transcripts.load_recordings(root, None, ignore_progress)
    assert transcripts.load_recordings(root, 1, ignore_progress)[0]
    (root / "transcripts.tsv").write_text("a.wav\thello\nb.wav\tthere\n")
    (root / "b.wav").write_bytes(b"RIFF")
    with pytest.raises(InputError, match=r"1 of 2 sound files are broken, such as .*b.wav"):
        transcripts.load_recordings(root, None, ignore_progress)
