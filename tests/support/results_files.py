"""Results files and archives made by hand, and sample files read without the code under test."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

N_PIXELS = 1855
SAMPLES = 12


def sample_path(samples: Path, run: int) -> Path:
    return samples / f"NectarCAMQM_DQM_Run{run}.tar.gz"


def sample_fits(samples: Path, run: int) -> bytes:
    with tarfile.open(sample_path(samples, run)) as archive:
        (member,) = [member for member in archive if member.isfile()]
        stream = archive.extractfile(member)
        assert stream is not None
        return stream.read()


def raw_columns(data: bytes) -> dict[str, dict[str, NDArray]]:
    """EXTNAME -> column -> values, by astropy alone."""
    found: dict[str, dict[str, NDArray]] = {}
    with fits.open(io.BytesIO(data)) as file:
        for hdu in file[1:]:
            if isinstance(hdu, fits.BinTableHDU):
                found[hdu.name] = {name: np.array(hdu.data[name]) for name in hdu.columns.names}
            else:
                found[hdu.name] = {hdu.name: np.array(hdu.data)}
    return found


def raw_values(data: bytes) -> dict[str, NDArray]:
    """EXTNAME -> values of the only column."""
    return {
        name: next(iter(columns.values()))
        for name, columns in raw_columns(data).items()
        if len(columns) == 1
    }


def build_fits(content: Mapping[str, object] | Sequence[tuple[str, object]]) -> bytes:
    """A FITS file; 2-D arrays become images, 1-D ones and mappings of them tables, None an empty
    table without columns."""
    items = content.items() if isinstance(content, Mapping) else content
    hdus: list[fits.PrimaryHDU | fits.ImageHDU | fits.BinTableHDU] = [fits.PrimaryHDU()]
    for name, values in items:
        if values is None:
            hdus.append(fits.BinTableHDU(name=name))
        elif isinstance(values, np.ndarray) and values.ndim > 1:
            hdus.append(fits.ImageHDU(values, name=name))
        else:
            columns = values if isinstance(values, Mapping) else {name: values}
            hdus.append(
                fits.BinTableHDU.from_columns(
                    [
                        fits.Column(name=key, format=_format(column), array=column)
                        for key, column in columns.items()
                    ],
                    name=name,
                )
            )
    stream = io.BytesIO()
    fits.HDUList(hdus).writeto(stream)
    return stream.getvalue()


def _format(column: NDArray) -> str:
    if column.dtype.kind in "SU":
        return f"{column.dtype.itemsize // (4 if column.dtype.kind == 'U' else 1)}A"
    code = {"f8": "D", "f4": "E", "i8": "K", "i4": "J", "i2": "I", "u1": "B", "b1": "L", "c16": "M"}
    width = int(np.prod(column.shape[1:], dtype=int))
    return f"{width}{code[column.dtype.str[1:]]}"


def run_fits(seed: int = 0, *, absent: Sequence[int] = (), fill: float = np.inf) -> bytes:
    """A small results file: signals, charges, waveforms, bad pixels of one gain, events."""
    return build_fits(run_content(seed, absent=absent, fill=fill))


def run_content(
    seed: int = 0, *, absent: Sequence[int] = (), fill: float = np.inf
) -> dict[str, object]:
    """The content of `run_fits`, in the orders that nectarchain writes (results-file layout)."""
    truth = truth_maps(seed)
    present = np.setdiff1d(np.arange(N_PIXELS), absent)
    order = np.concatenate([np.arange(len(absent)), present])
    waveforms = truth["waveforms"].copy()
    waveforms[list(absent)] = fill
    signal = truth["signal"].copy()
    signal[list(absent)] = fill
    events = 50
    times = 1.75e9 + np.arange(1, events) * 0.01
    ids = np.arange(2, events + 1)
    return {
        "TRIGGER-STATISTICS": {
            "All": np.array([events - 1]),
            "Physical": np.array([events - 1]),
            "Pedestals": np.array([0]),
            "Others": np.array([0]),
            "Wrong times": np.array([0]),
        },
        "TRIGGER-EVENTS-ALL": {"Timestamps": times, "IDs": ids},
        "WF-PHY-AVERAGE-PIX-HIGH-GAIN": waveforms.mean(axis=0),
        "WF-PHY-HIGH-GAIN": waveforms,
        "CAMERA-AVERAGE-PHY-OVEREVENTS-OVERSAMP-HIGH-GAIN": signal[order],
        "CHARGE-INTEGRATION-IMAGE-ALL-AVERAGE-HIGH-GAIN": truth["charge"][present],
        "CHARGE-INTEGRATION-IMAGE-ALL-RMS-HIGH-GAIN": truth["rms"][present],
        "CAMERA-BADPIX-PHY-OVEREVENTS-HIGH-GAIN": truth["bad"][order],
        "CAMERA-TEMPERATURE-AVERAGE": truth["temperature"],
        "CAMERA-PING-PONG-CHANGES": truth["changes"],
        "CAMERA-BADPIXTIMELINE-PHY-HIGH-GAIN": np.full(events, 0.01),
    }


def truth_maps(seed: int = 0) -> dict[str, NDArray]:
    """What `run_fits` holds, in pixel-id order, as if nothing were absent."""
    random = np.random.default_rng(seed)
    waveforms = random.normal(250, 4, (N_PIXELS, 1)) + random.normal(0, 1, (N_PIXELS, SAMPLES))
    return {
        "waveforms": waveforms,
        "signal": waveforms.mean(axis=1),
        "charge": random.normal(4000, 50, N_PIXELS),
        "rms": random.normal(30000, 50, N_PIXELS),
        "bad": random.integers(0, 51, N_PIXELS).astype(float),
        "temperature": random.normal(25, 1, N_PIXELS),
        "changes": np.ones(N_PIXELS),
    }


def build_tar(
    members: Sequence[tuple[str | tarfile.TarInfo, bytes]], *, compress: bool = True
) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:") as archive:
        for member, data in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member)
            if not isinstance(member, tarfile.TarInfo):
                info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    raw = stream.getvalue()
    return gzip.compress(raw, 1, mtime=0) if compress else raw


def build_run_archive(camera: str, run: int, data: bytes) -> bytes:
    """A tarball in the layout of production."""
    folder = f"{camera}_DQM_Run{run}/output/NectarCAM_Run{run}/NectarCAM_Run{run}_calib"
    return build_tar([(f"{folder}/NectarCAM_Run{run}_Results.fits", data)])


def write_run(folder: Path, run: int, *, camera: str = "NectarCAMQM", seed: int = 0) -> Path:
    """A small run's tarball in *folder*."""
    path = folder / f"{camera}_DQM_Run{run}.tar.gz"
    path.write_bytes(build_run_archive(camera, run, run_fits(seed)))
    return path
