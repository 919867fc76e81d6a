"""The verbs at the prompt: what they print, what they leave behind, and the exit codes."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from lauterbur.cli import app, command
from lauterbur.errors import RefusedError, ResourceError
from lauterbur.formats.dicom import write_dicom
from lauterbur.formats.pulseq import write_program
from lauterbur.image import Image
from lauterbur.program import Adc, Column, Gradient, Program, RfPulse
from lauterbur.units import GAMMA_BAR


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def short_program(slew=100.0):
    """One pulse, one readout."""
    rise = 0.01 / slew
    pulse = RfPulse(np.full(100, 100.0 + 0j), (np.arange(100) + 0.5) * 1e-6, 1e-4, 1e-4, 5e-5, use="excitation")
    ramp = np.array([0, rise, rise + 2e-3, 2 * rise + 2e-3])
    gradient = Gradient(ramp, GAMMA_BAR * np.array([0, 0.01, 0.01, 0]))
    table = np.full((2, len(Column)), -1, np.int32)
    table[0, Column.RF] = table[1, Column.GX] = table[1, Column.ADC] = 0
    return Program(table, np.array([5e-4, 3e-3]), (pulse,), (gradient,), (Adc(64, 20e-6, 5e-4),))


@pytest.fixture
def good(tmp_path):
    write_program(short_program(), tmp_path / "good.seq")
    return tmp_path / "good.seq"


@pytest.fixture
def steep(tmp_path):
    write_program(short_program(slew=1000.0), tmp_path / "steep.seq")
    return tmp_path / "steep.seq"


def test_help_names_every_verb():
    text = run("--help").output
    assert all(
        verb in text
        for verb in ("protocols", "scan", "simulate", "recon", "quality", "check", "show", "fields", "shim", "compare")
    )


def test_the_documented_options_are_the_real_ones():
    text = (Path(__file__).parents[1] / "docs" / "cli.md").read_text()
    documented = set()
    for row in re.findall(r"^\| (`--.*?) \| (.*?) \|", text, re.MULTILINE):
        documented |= {(verb, option) for verb in row[1].split(", ") for option in re.findall(r"--[a-z0-9-]+", row[0])}
    group = get_command(app)
    commands = {"lauterbur": group, **group.commands}
    real = {(verb, o) for verb, c in commands.items() for p in c.params for o in p.opts if o.startswith("--")}
    assert documented == {(verb, option) for verb, option in real if option != "--help"}


def test_help_comes_quickly_and_imports_nothing_heavy():
    code = "import sys; from lauterbur.cli import app; print(sorted({'numpy', 'scipy', 'numba', 'matplotlib'} & set(sys.modules)))"
    begin = time.perf_counter()
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]" and time.perf_counter() - begin < 5  # 0.2 s on a quiet machine


def test_the_version_can_be_asked_for():
    assert run("--version").output.strip() == "0.1.0"


def test_a_machine_may_play_what_is_within_its_limits(good):
    result = run("check", good, "--scanner", "5T")
    assert result.exit_code == 0 and "may play" in result.output and "gradient slew, x" in result.output


def test_a_machine_may_not_play_what_is_beyond_them(steep):
    result = run("check", steep)
    assert result.exit_code == 3 and "gradient slew, x 1000 T/m/s exceeds 200 T/m/s" in result.stderr


def test_check_prints_json(good, steep):
    said = json.loads(run("check", good, "--json").stdout)
    assert said["ok"] and {"quantity", "value", "limit", "unit", "rule", "where", "ok"} <= set(said["findings"][0])
    refused = run("check", steep, "--json")
    assert refused.exit_code == 3 and not json.loads(refused.stdout)["ok"]


def test_check_takes_a_protocol_too():
    assert run("check", "brain/t1-gre").exit_code == 0


def test_the_library_is_listed():
    listed = json.loads(run("protocols", "--json").stdout)
    assert "brain/t1-mprage" in {row["protocol"] for row in listed}
    assert all(row["scan_time_s"] > 0 for row in listed if "problem" not in row)
    assert "brain/t1-mprage" in run("protocols").output


def test_show_writes_a_picture_beside_the_file(good):
    assert run("show", good).exit_code == 0
    assert (good.parent / "good.seq.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_show_writes_a_picture_where_it_is_told(good, tmp_path):
    assert run("show", good, "--out", tmp_path / "a.png").exit_code == 0
    assert (tmp_path / "a.png").exists()


def test_show_tells_what_it_left_out(tmp_path):
    write_dicom(Image(np.ones((1, 3, 8, 8), np.complex64), np.diag([1e-3, 1e-3, 1e-3, 1])), tmp_path / "dicom")
    (tmp_path / "dicom" / "letter.txt").write_text("no image")
    result = run("show", tmp_path / "dicom", "--out", tmp_path / "a.png")
    assert result.exit_code == 0 and "note: left out letter.txt: not DICOM" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("scan",),
        ("scan", "brain/no-such-protocol"),
        ("scan", "brain/t1-gre", "--scanner", "12T"),
        ("scan", "brain/t1-gre", "--seed", "-1"),
        ("scan", "brain/t1-gre", "--engine", "magic"),
        ("simulate", "nothing.seq"),
        ("simulate", "a\nb.seq"),
        ("recon", "nothing.mrd"),
        ("recon", "."),
        ("check", "nothing.seq"),
        ("check", "no-such-protocol"),
        ("show", "no-such-thing"),
        ("no-such-verb",),
        ("recon", "nothing.mrd", "--coils", "0"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 2 and result.stderr.strip() and "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_program_is_exit_code_2(tmp_path):
    (tmp_path / "bad.seq").write_bytes(b"\x00\xff" * 100)
    for verb in ("check", "show", "simulate"):
        result = run(verb, tmp_path / "bad.seq")
        assert result.exit_code == 2 and "bad.seq" in result.stderr


def test_a_scan_does_not_overwrite_a_folder_of_other_things(tmp_path):
    (tmp_path / "thesis.tex").touch()
    result = run("scan", "brain/t1-gre", "--out", tmp_path)
    assert result.exit_code == 2 and "other files" in result.stderr and (tmp_path / "thesis.tex").exists()


@pytest.mark.parametrize(
    "error, code, words",
    [
        (RefusedError("too steep"), 3, "too steep"),
        (ResourceError("10 TB would be needed"), 2, "10 TB"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 2, "memory"),
        (PermissionError(13, "Permission denied", "/x"), 2, "/x: Permission denied"),
        (KeyError("k"), 2, "fault of ours"),
    ],
)
def test_whatever_goes_wrong_has_its_exit_code(error, code, words):
    @command
    def fail() -> None:
        raise error

    try:
        result = run("fail")
    finally:
        app.registered_commands.pop()
    assert result.exit_code == code and words in result.stderr and "Traceback" not in result.output


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_leaves_nothing_and_says_130(kind, tmp_path):
    code = "import signal, sys, time; from lauterbur import cli, study; import lauterbur.study.folder as f\n"
    if kind == signal.SIGINT:  # whoever runs the tests may ignore it, and children inherit that
        code += "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "@cli.command\ndef wait() -> None:\n  with f.replacing_folder('out') as t:\n"
    code += "    (t / 'half').touch(); print('ready', flush=True); time.sleep(60)\n"
    code += "sys.argv = ['lauterbur', 'wait']; cli.main()"
    child = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ)
    )
    assert child.stdout.readline() == b"ready\n"
    child.send_signal(kind)
    _, said = child.communicate(timeout=30)
    assert child.returncode == 130 and b"interrupted" in said and list(tmp_path.iterdir()) == []
