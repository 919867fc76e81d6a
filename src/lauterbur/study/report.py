"""The report of a scan: one HTML file that needs nothing else, light or dark as the reader's system is."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

import numpy as np

from lauterbur.findings import Finding
from lauterbur.image import without_timings
from lauterbur.program import duration, program_hash
from lauterbur.protocol.protocol import resolution
from lauterbur.shim.b0 import b0_figures
from lauterbur.study.diagrams import kspace_figure, raw_figure, sequence_figure
from lauterbur.study.figures import png
from lauterbur.study.planes import planes_figure
from lauterbur.study.record import ScanResult
from lauterbur.study.summary import versions
from lauterbur.study.transmit import transmit_figure

STYLE = """
:root { --paper:#fbfbf9; --card:#fff; --ink:#1d2127; --soft:#69707b; --line:#e3e4e1; --good:#3a8a5c; --near:#c9812c;
  --bad:#b8433f; --bar:#e9eae6; --link:#2f6fb2; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --paper:#14161a; --card:#1c1f25; --ink:#e4e6ea; --soft:#959ca8;
  --line:#2c3038; --bar:#2a2e36; --link:#7db0e6; } .plot { filter: invert(.9) hue-rotate(180deg); } }
* { box-sizing: border-box; }
body { margin:0; background:var(--paper); color:var(--ink); font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif; }
main { max-width:1120px; margin:0 auto; padding:40px 24px 64px; }
h1 { font-size:28px; font-weight:650; letter-spacing:-.02em; margin:0; }
h2 { font-size:17px; font-weight:620; margin:40px 0 12px; }
.lead { color:var(--soft); margin:6px 0 24px; }
.numbers { display:flex; flex-wrap:wrap; gap:1px; background:var(--line);
  border:1px solid var(--line); border-radius:10px; overflow:hidden; }
.numbers div { background:var(--card); padding:12px 16px; flex:1 1 200px; }
.numbers b { display:block; font-size:19px; font-weight:600; font-variant-numeric:tabular-nums; letter-spacing:-.01em; }
.numbers span { color:var(--soft); font-size:12.5px; }
figure { margin:0; border:1px solid var(--line); border-radius:10px; overflow:hidden; background:#fff; }
figure.dark { background:#101216; } figure img { display:block; width:100%; height:auto; }
@media (prefers-color-scheme: dark) { figure.light { background:#191919; } }
table { border-collapse:collapse; width:100%; font-size:13.5px; font-variant-numeric:tabular-nums; }
th { text-align:left; color:var(--soft); font-weight:500; font-size:12.5px; padding:4px 12px 6px 0; }
td { border-top:1px solid var(--line); padding:6px 12px 6px 0; vertical-align:top; }
td.n, th.n { text-align:right; white-space:nowrap; } td.w { color:var(--soft); }
td.k { white-space:nowrap; color:var(--soft); width:1%; padding-right:24px; } td.v { overflow-wrap:anywhere; }
.bar { display:block; width:110px; height:7px; margin-top:7px; border-radius:4px; background:var(--bar); overflow:hidden; }
.bar i { display:block; height:100%; background:var(--good); border-radius:4px; }
.near i { background:var(--near); } .bad i { background:var(--bad); }
.scroll { overflow-x:auto; } ul { padding-left:18px; color:var(--soft); margin:10px 0 0; }
details summary { cursor:pointer; color:var(--link); margin-top:8px; }
footer { margin-top:48px; color:var(--soft); font-size:12.5px; border-top:1px solid var(--line); padding-top:12px; }
"""


def report_html(result: ScanResult, timings: Mapping[str, float]) -> str:
    image, protocol = result.image, result.protocol
    frame = np.abs(image.pixels[0])
    parts = [
        f"<h1>{escape(protocol.name)}</h1>",
        f'<p class="lead">{escape(result.subject)} on the {escape(result.scanner.name)} twin, seed {result.seed}. '
        "Simulated data. Research software, not a medical device.</p>",
        _numbers(result),
        _figure("Image", planes_figure(frame, image.affine), "Three planes of the image", is_dark=True),
        *_more_frames(result),
        *_static(result),
        *_prescan(result),
        _figure("Sequence as played", sequence_figure(result.program), "Sequence diagram"),
        _figure("k-space as played", kspace_figure(result.raw.k, result.raw.n_samples), "Samples in k-space"),
        _figure("Raw data", raw_figure(result.raw), "Raw data by readout and coil"),
        "<h2>Margins of the machine</h2>",
        margins_table(result.findings),
        "<ul>" + "".join(f"<li>{escape(note)}</li>" for note in result.notes) + "</ul>",
        "<h2>Time it took</h2>",
        _timings_table(timings),
        "<h2>Provenance</h2>",
        _table(_provenance(result)),
        _folded("Protocol, in SI", _table(_flat(vars(protocol)))),
        _folded("Where the scanner's numbers come from", _table(sorted(result.scanner.sources.items()))),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(protocol.name)} - Lauterbur</title><style>{STYLE}</style></head><body><main>"
        + "\n".join(parts)
        + "<footer>Made by Lauterbur, a 5 T MRI scanner in software.</footer></main></body></html>\n"
    )


def margins_table(findings: Iterable[Finding]) -> str:
    rows = []
    for finding in findings:
        share = finding.value / finding.limit if finding.limit > 0 else 0.0 if finding.ok else 1.0
        kind = "" if share < 0.9 and finding.ok else "near" if finding.ok else "bad"
        width = 100 * min(max(share, 0.0), 1.0) if np.isfinite(share) else 100.0
        rows.append(
            f'<tr><td>{escape(finding.quantity)}</td><td class="n">{_number(finding.value)}</td>'
            f'<td class="n">{_number(finding.limit)}</td><td>{escape(finding.unit)}</td>'
            f'<td><span class="bar {kind}"><i style="width:{width:.0f}%"></i></span></td>'
            f'<td class="w">{"" if finding.ok else "refused: "}{escape(finding.where)}</td>'
            f'<td class="w">{escape(finding.rule)}</td></tr>'
        )
    head = "".join(f"<th>{word}</th>" for word in ("quantity", "value", "limit", "unit", "share", "worst at", "rule"))
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def _numbers(result: ScanResult) -> str:
    protocol = result.protocol
    seconds = duration(result.program)
    voxel = " x ".join(f"{size * 1e3:.2f}".rstrip("0").rstrip(".") for size in resolution(protocol))
    shape = result.image.pixels.shape
    error = result.simulation_error
    te = ", ".join(f"{t * 1e3:.3g}" for t in (result.image.te or protocol.te)[:3]) + (
        " ..." if len(protocol.te) > 3 else ""
    )
    cells = [
        (f"{int(seconds // 60)}:{seconds % 60:04.1f} min", "scan time"),
        (f"{voxel} mm", "voxel"),
        (" x ".join(str(n) for n in shape[:0:-1]) + (f" x {shape[0]}" if shape[0] > 1 else ""), "image"),
        (f"{te} / {protocol.tr * 1e3:.4g} ms", "TE / TR"),
        (f"{np.degrees(protocol.flip_angle):.3g} deg", "flip angle"),
        (f"{result.raw.n_rx} of {_coils(result)}", "receive channels kept"),
        (
            "not measured" if not error else f"{100 * error['estimate']:.2g} %, below {100 * error['upper95']:.2g} %",
            "simulation error, 95 % limit",
        ),
        (f"{sum(f.ok for f in result.findings)} of {len(result.findings)}", "machine limits kept"),
    ]
    if protocol.ti is not None:
        cells.insert(4, (f"{protocol.ti * 1e3:.4g} ms", "TI"))
    return (
        '<div class="numbers">'
        + "".join(f"<div><b>{escape(a)}</b><span>{escape(b)}</span></div>" for a, b in cells)
        + "</div>"
    )


def _coils(result: ScanResult) -> str:
    name = result.raw.header.coils if result.raw.header is not None else ""
    counts = [str(len(array.loops)) for array in result.scanner.receive if array.name == name]
    return counts[0] if counts else str(result.raw.n_rx)


def _static(result: ScanResult) -> list[str]:
    """What the B0 shim left, and what its coils do for it."""
    if result.b0 is None:
        return []
    told = b0_figures(result.b0)
    rows = [
        f'<tr><td class="k">{name}</td><td class="n">{spread["rms"]:.1f} Hz</td><td class="n">{spread["percentile95"]:.1f} Hz</td></tr>'
        for name, spread in (("before", told["before, Hz"]), ("after", told["after, Hz"]))
    ]
    head = '<th>off-resonance</th><th class="n">r.m.s.</th><th class="n">95 % of the target are below</th>'
    coils = []
    for name, amount in told["coils, T/m^n"].items():
        share = told["share of limit"].get(name)
        bar = "" if share is None else f'<span class="bar"><i style="width:{100 * min(share, 1.0):.0f}%"></i></span>'
        unit = "mT/m" if name in ("x", "y", "z") else "mT/m2"
        coils.append(
            f'<tr><td class="k">{name}</td><td class="n">{1e3 * amount:.4f} {unit}</td>'
            f'<td class="n">{"no limit" if share is None else f"{100 * share:.1f} %"}</td><td>{bar}</td></tr>'
        )
    amount_of = "what it adds" if result.b0.slices is None else "the most in any slice"
    head_coils = f'<th>coil</th><th class="n">{amount_of}</th><th class="n">of its limit</th><th></th>'
    return [
        "<h2>Static field</h2>",
        f"<table><tr>{head}</tr>{''.join(rows)}</table>",
        _folded("What the shim coils do", f"<table><tr>{head_coils}</tr>{''.join(coils)}</table>"),
    ]


def _prescan(result: ScanResult) -> list[str]:
    """The transmit field and its heat, and what the shim promised."""
    prescan = result.prescan
    if prescan is None:
        return []
    shim = prescan.shim
    promised = [(name, _number(value)) for name, value in shim.promised.items()]
    return [
        _figure(
            f"Transmit field, shim {shim.mode} for the {shim.target}",
            transmit_figure(prescan, result.program),
            "Transmit field and heating in three planes",
            is_dark=True,
        ),
        _folded("What the shim promises", _table(promised)),
    ]


def _more_frames(result: ScanResult) -> list[str]:
    """The last frame too, where there are several: echoes differ most at the ends."""
    n = len(result.image.pixels)
    if n < 2:
        return []
    return [
        _figure(
            f"Frame {n} of {n}",
            planes_figure(np.abs(result.image.pixels[-1]), result.image.affine),
            "Last frame",
            is_dark=True,
        )
    ]


def _figure(title: str, figure: Any, words: str, *, is_dark: bool = False) -> str:
    data = base64.b64encode(png(figure)).decode("ascii")
    kind, plot = ("dark", "") if is_dark else ("light", ' class="plot"')
    return (
        f'<h2>{escape(title)}</h2><figure class="{kind}"><img{plot} alt="{escape(words)}" '
        f'src="data:image/png;base64,{data}"></figure>'
    )


def _timings_table(timings: Mapping[str, float]) -> str:
    longest = max([seconds for name, seconds in timings.items() if name != "total"], default=1.0) or 1.0
    rows = "".join(
        f'<tr><td class="k">{escape(name)}</td><td class="n" style="width:1%">{seconds:.2f} s</td>'
        f'<td><span class="bar" style="width:100%"><i style="width:{min(100 * seconds / longest, 100):.1f}%"></i></span></td></tr>'
        for name, seconds in timings.items()
        if name != "total"
    )
    return f"<table>{rows}</table>"


def _provenance(result: ScanResult) -> list[tuple[str, str]]:
    facts: dict[str, Any] = {
        "program": program_hash(result.program),
        "engine asked for": result.engine,
        "seed": result.seed,
        "fields": result.fields,
        **without_timings(result.image.provenance),
        "versions": versions(),
    }
    return _flat(facts)


def _flat(facts: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in facts.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            rows += _flat(value, f"{name}, ")
        elif isinstance(value, float | np.floating):
            rows.append((name, _number(float(value))))
        else:
            text = str(value)
            rows.append((name, text if len(text) <= 2000 else text[:2000] + " ..."))
    return rows


def _table(rows: Iterable[tuple[str, str]]) -> str:
    body = "".join(f'<tr><td class="k">{escape(a)}</td><td class="v">{escape(str(b))}</td></tr>' for a, b in rows)
    return f"<table>{body}</table>"


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def _number(value: float) -> str:
    return f"{value:.4g}"
