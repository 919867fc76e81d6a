"""Throw damaged files at a reader and count what happens: read, refused with a clear error, or a failure.

    python benchmarks/fuzz_readers.py --reader pulseq --count 100000 --seeds FOLDER
    python benchmarks/fuzz_readers.py --reader mrd|nifti|twix --count 1000 --seeds FOLDER
    python benchmarks/fuzz_readers.py --reader protocol|scanner|subject --count 1000     # seeds of our own

A subject is a TOML file and the files it names; each input has one of them damaged. A failure is anything but a
LauterburError, more than --limit seconds, or more than --memory MiB. Failing inputs are kept under --keep. The same --seed
gives the same inputs.
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import random
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lauterbur.errors import LauterburError
from lauterbur.formats.nifti import write_nifti
from lauterbur.subject.tissues import STANDARD

# reader -> (module, function, file endings of its seeds)
READERS = {
    "pulseq": ("lauterbur.formats.pulseq", "read_program", (".seq",)),
    "mrd": ("lauterbur.formats.mrd", "read_raw", (".mrd", ".h5")),
    "nifti": ("lauterbur.formats.nifti", "read_nifti", (".nii", ".nii.gz")),
    "twix": ("lauterbur.formats.twix", "read_twix", (".dat",)),
    "protocol": ("lauterbur.protocol.library", "load_protocol", (".toml",)),
    "scanner": ("lauterbur.scanner.profiles", "load_scanner", (".toml",)),
    "subject": ("lauterbur.subject.library", "load_subject", (".toml",)),
}
OWN_SEEDS = ("protocol", "scanner", "subject")  # readers that need no --seeds
Seed = dict[str, bytes]  # file name -> content; the first is the file that is read, the others lie beside it
HOSTILE = (
    b"nan", b"NaN", b"inf", b"-inf", b"-1", b"0", b"1e12", b"1e308", b"-1e-320", b"99999999999999999999", b"2147483648",
    b"4294967296", b"0.5", b"1", b"2", b"", b"#", b"[BLOCKS]", b"\x00", b"\xff\xfe", b"\x1c", b"\xc2\x85", b"../../etc/passwd", b"1_000", b"0x10",
)  # fmt: skip


def bit_flips(rng: random.Random, data: bytes) -> bytes:
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 50))):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def truncation(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data))]


def token_replacement(rng: random.Random, data: bytes) -> bytes:
    """Put something hostile where a word stands."""
    damaged = data
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        start = rng.randrange(max(1, len(damaged)))
        while start > 0 and damaged[start - 1 : start] not in (b" ", b"\n", b"\t", b"=", b""):
            start -= 1
        end = start
        while end < len(damaged) and damaged[end : end + 1] not in (b" ", b"\n", b"\t", b"=") and end - start < 64:
            end += 1
        damaged = damaged[:start] + rng.choice(HOSTILE) + damaged[end:]
    return damaged


def line_surgery(rng: random.Random, data: bytes) -> bytes:
    """Delete, repeat, swap or move lines."""
    lines = data.split(b"\n")
    for _ in range(rng.choice((1, 1, 2, 8))):
        i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
        action = rng.randrange(4)
        if action == 0 and len(lines) > 1:
            del lines[i]
        elif action == 1:
            lines.insert(j, lines[i])
        elif action == 2:
            lines[i], lines[j] = lines[j], lines[i]
        else:
            lines[i:i] = lines[j : j + rng.randrange(1, 20)]
    return b"\n".join(lines)


def chunk_surgery(rng: random.Random, data: bytes) -> bytes:
    """Cut a piece out, or overwrite it with a constant or with noise."""
    start = rng.randrange(len(data))
    length = min(len(data) - start, rng.choice((1, 4, 8, 64, 1024)))
    fill = rng.choice((b"", b"\x00" * length, b"\xff" * length, rng.randbytes(length), data[:length]))
    return data[:start] + fill + data[start + length :]


MUTATIONS = (bit_flips, truncation, token_replacement, token_replacement, line_surgery, chunk_surgery)


def damage(rng: random.Random, data: bytes) -> tuple[bytes, str]:
    """Once, sometimes twice; half of what is compressed is damaged before its compression."""
    if data[:2] == b"\x1f\x8b" and rng.random() < 0.5:
        inner, how = damage(rng, gzip.decompress(data))
        return gzip.compress(inner, 1, mtime=0), how
    mutation = rng.choice(MUTATIONS)
    data = mutation(rng, data)
    if rng.random() < 0.2 and data:
        data = rng.choice(MUTATIONS)(rng, data)
    return data, mutation.__name__


def seeds(folder: Path, endings: tuple[str, ...], largest: int) -> list[Seed]:
    found = [p for p in sorted(folder.rglob("*")) if p.name.endswith(endings) and 0 < p.stat().st_size <= largest]
    if not found:
        sys.exit(f"{folder} holds no {', '.join(endings)} of at most {largest} bytes; give --seeds or --largest")
    return [{p.name: p.read_bytes()} for p in found]


def subject_seeds() -> list[Seed]:
    """Small subjects of every form that a description may take: labels, fractions, parameter maps, labels and maps."""
    rng = np.random.default_rng(0)
    shape = (3, 4, 5)
    affine = np.diag([2e-3, 2e-3, 3e-3, 1.0])
    arrays = {
        "labels.nii": rng.integers(0, 3, shape).astype(np.float32),
        "labels.nii.gz": rng.integers(0, 3, shape).astype(np.float32),
        "gm.nii": np.full(shape, 0.4, np.float32),
        "wm.nii": np.full(shape, 0.5, np.float32),
        "pd.nii": rng.uniform(0.5, 1, shape).astype(np.float32),
        "t1.nii": rng.uniform(300, 3000, shape).astype(np.float32),
        "t2.nii.gz": rng.uniform(20, 300, shape).astype(np.float32),
        "b0.nii": rng.uniform(-100, 100, shape).astype(np.float32),
    }
    content: Seed = {"tissues.toml": STANDARD.read_bytes()}
    with tempfile.TemporaryDirectory() as folder:
        for name, array in arrays.items():
            write_nifti(array, Path(folder) / name, affine=affine)
            content[name] = (Path(folder) / name).read_bytes()
    names = 'names = { 0 = "air", 1 = "grey matter", 2 = "white matter" }\n'
    maps = '[maps]\nfield_strength_T = 4.95\nunit = "ms"\nproton_density = "pd.nii"\nt1 = "t1.nii"\nt2 = "t2.nii.gz"\n'
    descriptions = (
        'name = "a"\ncontinues = ["-z"]\n[labels]\nfile = "labels.nii"\n' + names,
        '[labels]\nfile = "labels.nii.gz"\ntissues = "tissues.toml"\n' + names,
        '[fractions]\n"grey matter" = "gm.nii"\n"white matter" = "wm.nii"\n',
        maps + 'tissue = "grey matter"\noff_resonance = "b0.nii"\n',
        '[labels]\nfile = "labels.nii"\n' + names + maps + 't2_prime = "t1.nii"\n',
    )
    return [
        {"subject.toml": text.encode(), **{name: data for name, data in content.items() if f'"{name}"' in text}}
        for text in descriptions
    ]


def own_seeds(reader: str) -> list[Seed]:
    """The shipped protocols or scanners, or subjects made here."""
    if reader == "subject":
        return subject_seeds()
    module = importlib.import_module(READERS[reader][0])
    return seeds(Path(module.__file__ or "").parent / "data", (".toml",), 200_000)


def fuzz(read: Callable[[Path], object], options: argparse.Namespace, inputs: list[Seed]) -> Counter[str]:
    rng = random.Random(options.seed)
    counts: Counter[str] = Counter()
    slowest, started = (0.0, ""), time.monotonic()
    with tempfile.TemporaryDirectory() as home:
        folders = [Path(home) / str(which) for which in range(len(inputs))]
        for folder, files in zip(folders, inputs, strict=True):
            folder.mkdir()
            for name, content in files.items():
                (folder / name).write_bytes(content)
        for i in range(options.count):
            which = rng.randrange(len(inputs))
            files, folder = inputs[which], folders[which]
            victim = rng.choice(list(files))
            data, how = damage(rng, files[victim])
            (folder / victim).write_bytes(data)
            target = folder / next(iter(files))
            start, failure = time.monotonic(), ""
            try:
                read(target)
                outcome = "read"
            except LauterburError as problem:
                outcome = type(problem).__name__
                if "\n" in str(problem) or len(str(problem)) > 1000:
                    failure = f"message of {len(str(problem))} characters or several lines"
            except MemoryError:
                outcome, failure = "MemoryError", "MemoryError"
            except Exception:
                outcome, failure = "OTHER", traceback.format_exc(limit=-3)
            seconds = time.monotonic() - start
            (folder / victim).write_bytes(files[victim])
            what = f"{victim} of {which}, {how}"
            slowest = max(slowest, (seconds, what))
            if seconds > options.limit:
                failure = failure or f"took {seconds:.1f} s"
            counts[outcome] += 1
            if failure:
                counts["FAILURES"] += 1
                print(f"input {i} ({what}): {failure}", flush=True)
                if options.keep:
                    options.keep.mkdir(parents=True, exist_ok=True)
                    (options.keep / f"{options.reader}-{options.seed}-{i}-{victim}").write_bytes(data)
            if (i + 1) % 10_000 == 0:
                print(f"{i + 1}: {dict(counts)}, {time.monotonic() - started:.0f} s", flush=True)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{options.reader}: {options.count} inputs from {len(inputs)} seeds: {dict(sorted(counts.items()))}")
    print(
        f"slowest {slowest[0]:.2f} s ({slowest[1]}); peak memory {memory:.0f} MiB; {time.monotonic() - started:.0f} s in all"
    )
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reader", choices=sorted(READERS), required=True)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seeds", type=Path, help="folder of good files")
    parser.add_argument("--largest", type=int, default=8192, help="bytes of the largest seed taken")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=float, default=5.0, help="seconds one input may take")
    parser.add_argument("--memory", type=int, default=4096, help="MiB of address space")
    parser.add_argument("--keep", type=Path, help="folder for inputs that failed")
    options = parser.parse_args()
    module, function, endings = READERS[options.reader]
    if options.seeds is None and options.reader not in OWN_SEEDS:
        parser.error(f"--reader {options.reader} needs --seeds")
    inputs = own_seeds(options.reader) if options.seeds is None else seeds(options.seeds, endings, options.largest)
    read = getattr(importlib.import_module(module), function)
    warnings.simplefilter("error")
    resource.setrlimit(resource.RLIMIT_AS, (options.memory * 2**20, options.memory * 2**20))
    counts = fuzz(read, options, inputs)
    sys.exit(1 if counts["FAILURES"] else 0)


if __name__ == "__main__":
    main()
