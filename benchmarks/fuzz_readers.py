"""Throw damaged files at a reader and count what happens: read, refused with a clear error, or a failure.

    python benchmarks/fuzz_readers.py --reader pulseq --count 100000 --seeds FOLDER
    python benchmarks/fuzz_readers.py --reader mrd|nifti|twix|protocol|scanner --count 1000 --seeds FOLDER

A failure is anything but a LauterburError, more than --limit seconds, or more than --memory MiB. Failing inputs are kept
beside the seeds' name under --keep. The same --seed gives the same inputs.
"""

from __future__ import annotations

import argparse
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

from lauterbur.errors import LauterburError

# reader -> (module, function, file endings of its seeds)
READERS = {
    "pulseq": ("lauterbur.formats.pulseq", "read_program", (".seq",)),
    "mrd": ("lauterbur.formats.mrd", "read_raw", (".mrd", ".h5")),
    "nifti": ("lauterbur.formats.nifti", "read_nifti", (".nii", ".nii.gz")),
    "twix": ("lauterbur.formats.twix", "read_twix", (".dat",)),
    "protocol": ("lauterbur.protocol.library", "load_protocol", (".toml",)),
    "scanner": ("lauterbur.scanner.profiles", "load_scanner", (".toml",)),
}
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


def seeds(folder: Path, endings: tuple[str, ...], largest: int) -> list[Path]:
    found = [p for p in sorted(folder.rglob("*")) if p.name.endswith(endings) and 0 < p.stat().st_size <= largest]
    if not found:
        sys.exit(f"{folder} holds no {', '.join(endings)} of at most {largest} bytes; give --seeds or --largest")
    return found


def fuzz(read: Callable[[Path], object], options: argparse.Namespace, files: list[Path], ending: str) -> Counter[str]:
    rng = random.Random(options.seed)
    contents = [file.read_bytes() for file in files]
    counts: Counter[str] = Counter()
    slowest, started = (0.0, ""), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / f"input{ending}"
        for i in range(options.count):
            which = rng.randrange(len(files))
            mutation = rng.choice(MUTATIONS)
            data = mutation(rng, contents[which])
            if rng.random() < 0.2 and data:
                data = rng.choice(MUTATIONS)(rng, data)
            target.write_bytes(data)
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
            slowest = max(slowest, (seconds, f"{files[which].name}, {mutation.__name__}"))
            if seconds > options.limit:
                failure = failure or f"took {seconds:.1f} s"
            counts[outcome] += 1
            if failure:
                counts["FAILURES"] += 1
                print(f"input {i} ({files[which].name}, {mutation.__name__}): {failure}", flush=True)
                if options.keep:
                    options.keep.mkdir(parents=True, exist_ok=True)
                    (options.keep / f"{options.reader}-{options.seed}-{i}{ending}").write_bytes(data)
            if (i + 1) % 10_000 == 0:
                print(f"{i + 1}: {dict(counts)}, {time.monotonic() - started:.0f} s", flush=True)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{options.reader}: {options.count} inputs from {len(files)} seeds: {dict(sorted(counts.items()))}")
    print(
        f"slowest {slowest[0]:.2f} s ({slowest[1]}); peak memory {memory:.0f} MiB; {time.monotonic() - started:.0f} s in all"
    )
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reader", choices=sorted(READERS), required=True)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seeds", type=Path, required=True, help="folder of good files")
    parser.add_argument("--largest", type=int, default=8192, help="bytes of the largest seed taken")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=float, default=5.0, help="seconds one input may take")
    parser.add_argument("--memory", type=int, default=4096, help="MiB of address space")
    parser.add_argument("--keep", type=Path, help="folder for inputs that failed")
    options = parser.parse_args()
    module, function, endings = READERS[options.reader]
    read = getattr(importlib.import_module(module), function)
    warnings.simplefilter("error")
    resource.setrlimit(resource.RLIMIT_AS, (options.memory * 2**20, options.memory * 2**20))
    counts = fuzz(read, options, seeds(options.seeds, endings, options.largest), endings[0])
    sys.exit(1 if counts["FAILURES"] else 0)


if __name__ == "__main__":
    main()
