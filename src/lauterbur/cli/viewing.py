"""The verbs of images: reconstruct raw data, look at anything, say how good an image is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lauterbur.cli.prompt import (
    Coils,
    Json,
    check_file_target,
    command,
    console,
    print_json,
    print_notes,
    progress_bars,
    table,
)


@command
def recon(
    file: Annotated[Path, typer.Argument(help="Raw data: MRD, or Siemens twix (.dat).")],
    out: Annotated[Path, typer.Option(help="The folder for the images.")] = Path("images"),
    coils: Coils = None,
    normalise: Annotated[bool, typer.Option("--normalise", help="Correct the brightness for the receivers.")] = False,
    method: Annotated[
        str,
        typer.Option(
            help="auto, sense, grappa, cs (compressed sensing), low-rank (series), learned (prior), cartesian, or nufft."
        ),
    ] = "auto",
    maps: Annotated[str, typer.Option(help="What the receivers see: espirit, from the centre of k-space.")] = "espirit",
    regularisation: Annotated[
        str, typer.Option(help="Weight of the prior of cs and low-rank; auto: from the noise.")
    ] = "auto",
    tune: Annotated[
        bool, typer.Option("--tune", help="Tune the learned prior to this scan first; needs torch.")
    ] = False,
    report: Annotated[bool, typer.Option("--report", help="A page with g-factor, SNR and fit to the data.")] = False,
    as_json: Json = False,
) -> None:
    """Reconstruct raw data: of the twin, of another simulator, or of a scanner."""
    from lauterbur.recon.methods import check_choice
    from lauterbur.recon.reconstruction import reconstruct
    from lauterbur.study.archive import archive_images
    from lauterbur.study.clock import Clock
    from lauterbur.study.folder import check_target
    from lauterbur.study.opening import notes_in, open_raw

    check_choice(method, maps, regularisation, tune)
    check_target(out)
    with progress_bars() as progress:
        clock = Clock(progress)
        with clock.stage("reading"):
            raw = open_raw(file)
        with clock.stage("reconstruction") as told:
            image = reconstruct(
                raw, coils=coils, normalise=normalise, method=method, maps=maps, regularisation=regularisation,
                tune=tune, progress=told,
            )  # fmt: skip
        summary = archive_images(image, raw, out, source=file.name, timings=clock.seconds, with_report=report)
    print_notes(notes_in(image.provenance) + notes_in(image.provenance["reconstruction"]))
    if as_json:
        return print_json(summary)
    frames, z, y, x = image.pixels.shape
    if report:
        from lauterbur.study.fit_report import fit_lines

        print("\n".join(line for line in fit_lines(image) if not line.startswith("note: ")))
    print(f"images: {out} ({x} x {y} x {z}, {frames} frame{'s' if frames > 1 else ''})")


@command
def show(
    file: Annotated[str, typer.Argument(metavar="FILE|SUBJECT", help="A program, raw data, an image, a subject.")],
    out: Annotated[Path | None, typer.Option(help="The picture; FILE.png unless given.")] = None,
) -> None:
    """A picture of a program, of raw data, of an image or of a subject."""
    from lauterbur.formats.atomic import replacing
    from lauterbur.study.figures import default_path, png
    from lauterbur.study.showing import picture

    target = default_path(file) if out is None else out
    check_file_target(target)
    figure, notes = picture(file)
    data = png(figure)
    with replacing(target) as temporary:
        temporary.write_bytes(data)
    print_notes(notes)
    print(target)


@command
def quality(
    image: Annotated[Path, typer.Argument(help="The image to judge, NIfTI.")],
    truth: Annotated[Path, typer.Option(help="What it should be, NIfTI on the same grid.")],
    regions: Annotated[
        Path | None, typer.Option(help="Labels on the same grid, NIfTI: a table of their means.")
    ] = None,
    as_json: Json = False,
) -> None:
    """How near an image comes to the truth: NRMSE, PSNR, SSIM, HFEN, edge sharpness, means of regions."""
    from dataclasses import asdict

    from lauterbur.study.quality import read_and_judge

    found = read_and_judge(image, truth, regions)
    if as_json:
        return print_json({"image": str(image), "truth": str(truth), **asdict(found)})
    shown = table("quantity", "value", "")
    for name, value, words in (
        ("NRMSE", f"{100 * found.nrmse:.3g} %", "root mean square error, of the truth's"),
        ("PSNR", f"{found.psnr:.2f} dB", "of the truth's largest value"),
        ("SSIM", f"{found.ssim:.4f}", "structural similarity in planes; 1 is equal"),
        ("HFEN", f"{found.hfen:.4f}", "error of edges and fine structure; 0 is equal"),
        ("sharpness", f"{found.sharpness:.4f}", "slope of the truth's edges; 1 is as sharp"),
        ("scale", f"{found.scale:.4g}", "factor applied to the image before"),
    ):
        shown.add_row(name, value, words)
    console().print(shown)
    if found.regions:
        shown = table("region", "voxels", "truth", "image", "bias", "deviation")
        for one in found.regions:
            cells = (str(one.label), str(one.voxels), f"{one.truth:.4g}", f"{one.image:.4g}", f"{100 * one.bias:.2f} %")
            shown.add_row(*cells, f"{one.deviation:.3g}")
        console().print(shown)
