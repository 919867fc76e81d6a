"""Damaged and hostile Pulseq files: a sentence that names file, line and section, within seconds and bounded memory."""

import resource
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lauterbur as lb
from lauterbur.errors import FileFormatError, InputError, LauterburError
from lauterbur.program import adc_blocks, gradient_points, rf_steps

GOOD = """# a comment
[VERSION]
major 1
minor 5
revision 1

[DEFINITIONS]
AdcRasterTime 1e-07
BlockDurationRaster 1e-05
FOV 0.2 0.2 0.005
GradientRasterTime 1e-05
Name little
RadiofrequencyRasterTime 1e-06

[BLOCKS]
1 20 1 0 0 2 0 2
2 20 0 1 3 0 1 0
3 5 0 0 0 0 0 4

[RF]
1 200 1 2 0 50 10 0 0 5 0.5 e

[GRADIENTS]
3 1e5 0 0 3 0 0
[TRAP]
1 1e5 30 60 30 10
2 -2e5 30 60 30 0
[ADC]
1 16 5000 20 0 0 0 0 0

[EXTENSIONS]
1 1 1 0
2 2 1 1
3 3 1 0
4 4 1 0
extension LABELSET 1
1 2 LIN
extension TRIGGERS 2
1 1 1 0 10
extension ROTATIONS 3
1 1 0 0 0
extension DELAYS 4
1 0 -100 2 TE

[SHAPES]
shape_id 1
num_samples 100
1
0
0
97

shape_id 2
num_samples 100
0
0
98

shape_id 3
num_samples 4
0.2
0.8
0.8
0.2
"""
LINES = GOOD.split("\n")


def refused(tmp_path, text, match=None):
    path = tmp_path / "bad.seq"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(LauterburError, match=match) as caught:
        lb.read_program(path)
    message = str(caught.value)
    assert "bad.seq" in message and "\n" not in message and len(message) < 500
    return message


def test_the_undamaged_file_is_read(tmp_path):
    (tmp_path / "good.seq").write_text(GOOD)
    assert lb.read_program(tmp_path / "good.seq").n_blocks == 3


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1 200 1 2 0 50", "1 nan 1 2 0 50", r"line 21 \(\[RF\]\): 'nan' is not finite"),
        ("1 200 1 2 0 50", "1 1e400 1 2 0 50", r"line 21 \(\[RF\]\): '1e400' is not finite"),
        ("1 200 1 2 0 50", "1 200 9 2 0 50", r"line 21 \(\[RF\]\): magnitude shape 9 is not defined"),
        ("1 200 1 2 0 50", "1 200 1 3 0 50", r"the magnitude shape has 100 samples, the phase shape 4"),
        ("1 200 1 2 0 50", "1 200 1 2 0 5000", r"center is 5000 us; the pulse lasts 100 us"),
        ("1 200 1 2 0 50", "1 200 1 2 0 -50", r"center in us is -50"),
        ("5 0.5 e", "5 0.5 z", r"line 21 \(\[RF\]\): use is 'z'"),
        ("5 0.5 e", "5 0.5", r"line 21 \(\[RF\]\): has 11 columns; expected 12"),
        ("1 1e5 30 60 30 10", "1 1e5 -30 60 30 10", r"line 26 \(\[TRAP\]\): rise in us is -30"),
        ("2 -2e5 30", "1 -2e5 30", r"line 27 \(\[TRAP\]\): id 1 is defined twice"),
        ("2 -2e5 30", "3 -2e5 30", r"gradient 3 is also defined in \[TRAP\]"),
        ("2 -2e5 30 60", "2 -2e5 30 6000", r"line 16 \(\[BLOCKS\]\): block 1 lasts 200 us; its events last 6060 us"),
        ("1 16 5000", "1 1000000000000 5000", r"line 29 \(\[ADC\]\): number of samples is 1e\+12"),
        ("1 16 5000", "1 0 5000", r"number of samples is 0"),
        ("1 16 5000", "1 16 -5", r"dwell in ns is -5"),
        ("1 16 5000 20 0 0 0 0 0", "1 16 5000 20 0 0 0 0 3", r"the phase shape has 4 samples, the ADC 16"),
        ("2 20 0 1 3 0 1 0", "2 20 0 1 3 0 7 0", r"line 17 \(\[BLOCKS\]\): ADC event 7 is not defined"),
        ("2 20 0 1 3 0 1 0", "2 -20 0 1 3 0 1 0", r"duration in block raster steps is -20"),
        ("2 20 0 1 3 0 1 0", "2 1e12 0 1 3 0 1 0", r"duration in block raster steps is 1e\+12"),
        ("2 20 0 1 3 0 1 0", "1 20 0 1 3 0 1 0", r"block 1 follows block 1"),
        ("2 20 0 1 3 0 1 0", "2 20 0 1.5 3 0 1 0", r"gradient id is 1\.5"),
        ("2 20 0 1 3 0 1 0", "2 20 0 1 3 0 1", r"has 7 columns; expected 8"),
        ("2 20 0 1 3 0 1 0", "2 20 0 1 x 0 1 0", r"line 17 \(\[BLOCKS\]\): 'x' is not a number"),
        ("2 20 0 1 3 0 1 0", "2 20 0 1 " + "9" * 5000 + " 0 1 0", r"5000 characters long"),
        ("BlockDurationRaster 1e-05", "BlockDurationRaster 0", r"\[DEFINITIONS\]: BlockDurationRaster is"),
        ("GradientRasterTime 1e-05", "GradientRasterTime -1e-05", r"GradientRasterTime is"),
        ("GradientRasterTime 1e-05", "GradientRasterTime", r"GradientRasterTime is"),
        ("2 2 1 1\n", "2 2 1 2\n", r"line 33 .* runs in a circle"),
        ("2 2 1 1\n", "2 2 1 8\n", r"next id 8 is not defined"),
        ("2 2 1 1\n", "2 9 1 1\n", r"extension type 9 is not declared"),
        ("2 2 1 1\n", "2 2 5 1\n", r"TRIGGERS entry 5 is not defined"),
        ("extension TRIGGERS 2", "extension TRIGGERS 1", r"two extensions have the same type number"),
        ("extension TRIGGERS 2", "extension LABELSET 2", r"is declared twice"),
        ("1 2 LIN", "1 99999999999 LIN", r"label value is 1e\+11"),
        ("1 2 LIN", "1 2 ../x", r"is not the name of a label"),
        ("1 0 -100 2 TE", "1 0 -100 0 TE", r"factor is 0"),
        ("num_samples 100\n1\n0", "num_samples 1000000000000\n1\n0", r"line 46 .* num_samples is '1000000000000'"),
        ("0\n0\n97", "0\n0\n96", r"shape 1 holds 99 samples; num_samples says 100"),
        ("0\n0\n97", "0\n0\n-97", r"repeat count"),
        ("0\n0\n97", "0\n0\n1e18", r"beyond 1e\+12"),
        ("0\n0\n97", "0\n0\n1e11", r"num_samples says 100"),
        ("shape_id 2\nnum", "shape_id 1\nnum", r"shape 1 is defined twice"),
        ("[ADC]", "[RF]", r"section \[RF\] appears twice"),
        ("[ADC]", "[SCRIPT]", r"\[SCRIPT\] is not part of Pulseq"),
        ("major 1", "major one", r"line 3 \(\[VERSION\]\)"),
        ("minor 5", "minor 7", r"1\.7\.1"),
        ("[BLOCKS]", "# no", "no"),
    ],
)
def test_every_damage_has_its_sentence(tmp_path, old, new, message):
    assert old in GOOD
    refused(tmp_path, GOOD.replace(old, new, 1), message)


def test_labels_that_overflow_are_refused(tmp_path):
    text = GOOD.replace("extension LABELSET 1\n1 2 LIN", "extension LABELINC 1\n1 2147483647 LIN")
    refused(tmp_path, text.replace("2 20 0 1 3 0 1 0", "2 20 0 1 3 0 1 1"), "label LIN overflows 32 bits at block 2")


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"\x00" * 1000, b"\xff\xfe[VERSION]", bytes(range(256)) * 50, b"[BLOCKS]\n" * 3]
)
def test_what_is_no_sequence_at_all_is_refused(tmp_path, data):
    refused(tmp_path, data)


def test_paths_that_are_no_files_are_refused(tmp_path):
    for path in (tmp_path, tmp_path / "absent.seq", "/dev/zero"):
        with pytest.raises(FileFormatError):
            lb.read_program(path)
    with pytest.raises(InputError):
        lb.read_program("nul\0byte.seq")


def test_text_in_another_encoding_does_no_harm(tmp_path):
    (tmp_path / "latin.seq").write_bytes(GOOD.replace("little", "für Käse").encode("latin-1"))
    assert lb.read_program(tmp_path / "latin.seq").definitions["Name"].startswith("f")


def test_line_ends_of_another_system_change_nothing(tmp_path):
    (tmp_path / "dos.seq").write_bytes(GOOD.replace("\n", "\r\n").encode())
    assert lb.read_program(tmp_path / "dos.seq").n_blocks == 3


MANY = 300_000


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("num_samples 4\n0.2", "num_samples 4\n" + "0.2\n" * MANY),
        GOOD.replace("[SHAPES]\n", "[SHAPES]\n" + "".join(f"shape_id {i}\nnum_samples 16777216\n0\n0\n16777214\n" for i in range(4, 40))),
        GOOD.replace("[SHAPES]\n", "[SHAPES]\n" + "".join(f"shape_id {i}\nnum_samples 1\n0\n" for i in range(4, MANY))),
        GOOD.replace("2 2 1 1\n", "".join(f"{i} 1 1 {i + 1}\n" for i in range(5, MANY)) + f"{MANY} 1 1 0\n2 1 1 5\n"),
        GOOD.replace("2 2 1 1\n", "".join(f"{i} 1 1 {min(i + 1, 300)}\n" for i in range(299, MANY)) + "2 1 1 1\n"),
        GOOD.replace("[TRAP]\n", "[TRAP]\n" + "".join(f"{i} 1 10 10 10 0\n" for i in range(4, 600_000))),
        GOOD.replace("3 1e5 0 0 3 0 0\n", "".join(f"{i} 1e5 0 0 9 0 0\n" for i in range(3, 2000)))
        + "shape_id 9\nnum_samples 1000000\n0\n0\n999998\n",
        "[A]\n" * MANY,
        GOOD + "[SIGNATURE]\n" + "a b\n" * 2_000_000,
        GOOD.replace("Name little", "\n".join(f"k{i} 1" for i in range(MANY))),
        GOOD.replace("extension DELAYS 4", "\n".join(f"extension X{i} {i + 9}" for i in range(MANY))),
    ],
    ids=["stored", "decoded", "shapes", "chain", "circle", "events", "rendered", "sections", "prose", "keys", "types"],
)  # fmt: skip
def test_too_much_of_anything_is_refused_soon_and_in_bounded_memory(tmp_path, text):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.monotonic()
    refused(tmp_path, text)
    assert time.monotonic() - start < 20  # seconds, on a busy machine
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_500_000  # KiB


TOKENS = [
    "nan",
    "-1",
    "0",
    "1e12",
    "1e308",
    "99999999999999999999",
    "2147483648",
    "0.5",
    "",
    "x",
    "#",
    "[RF]",
    "1 1",
    "\0",
]


@given(
    st.lists(
        st.tuples(st.integers(0, len(LINES) - 1), st.sampled_from(["word", "delete", "repeat", "swap"]), st.integers(0, 99), st.sampled_from(TOKENS)),
        min_size=1,
        max_size=3,
    ),
    st.integers(-1, len(GOOD)),
)  # fmt: skip
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_damage_is_read_as_something_playable_or_refused(tmp_path, damages, cut):
    lines = list(LINES)
    for where, action, which, token in damages:
        where = min(where, len(lines) - 1)
        if action == "word":
            words = lines[where].split(" ")
            words[which % len(words)] = token
            lines[where] = " ".join(words)
        elif action == "delete" and len(lines) > 1:
            del lines[where]
        elif action == "repeat":
            lines.insert(which % len(lines), lines[where])
        else:
            other = which % len(lines)
            lines[where], lines[other] = lines[other], lines[where]
    text = "\n".join(lines)
    path = tmp_path / "damaged.seq"
    path.write_text(text if cut < 0 else text[:cut])
    try:
        program = lb.read_program(path)
    except LauterburError as problem:
        assert "damaged.seq" in str(problem)
        return
    assert np.all(np.isfinite(program.durations)) and np.all(program.durations >= 0)
    for block in range(program.n_blocks):
        time, values = gradient_points(program, block)
        assert np.all(np.isfinite(values)) and np.all(np.diff(time) >= 0)
    for pulse in program.rf:
        assert np.all(np.isfinite(rf_steps(pulse)[1]))
    assert len(adc_blocks(program)) <= program.n_blocks


@given(st.binary(max_size=400))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_noise_after_a_good_head_is_read_or_refused(tmp_path, noise):
    path = tmp_path / "noise.seq"
    path.write_bytes(GOOD.encode()[: GOOD.index("[BLOCKS]")] + noise)
    with pytest.raises(LauterburError):
        lb.read_program(path)
