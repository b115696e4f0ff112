"""HDR video (PQ, HLG) as SDR, by the ITU's own formulas.

Light is read by ITU-R BT.2100 (PQ, and HLG on a display of 1000 cd/m²). The range up to 1000 cd/m²
is compressed by the curve of ITU-R BT.2390 (5.4.1) to 203 cd/m², the white of HDR by ITU-R BT.2408,
on the largest of red, green and blue, so that hues stay. Colours become those of BT.709 by ITU-R
BT.2087, and the light is coded for a display by BT.1886.

Dimensions: H x W pixels.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, UInt8, UInt16

PQ, HLG = 16, 18  # FFmpeg's numbers of transfer characteristics, which are those of ITU-T H.273
PEAK, WHITE = 1000.0, 203.0  # cd/m²
HLG_GAMMA = 1.2  # of a display of 1000 cd/m²
HLG_A, HLG_B, HLG_C = 0.17883277, 0.28466892, 0.55991073
PQ_M1, PQ_M2 = 2610 / 16384, 2523 / 4096 * 128
PQ_C1, PQ_C2, PQ_C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
PQ_PEAK = 10000.0  # cd/m²
GAMMA = 2.4  # BT.1886
LUMINANCE = (0.2627, 0.6780, 0.0593)  # of BT.2020
# linear light of BT.2020 to that of BT.709 (BT.2087, rounded as there)
TO_709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]],
    np.float32,
)
CODES = 1 << 16


def is_hdr(frame: Any) -> bool:
    """Whether a PyAV frame says that it is."""
    return int(frame.color_trc) in (PQ, HLG)


def kind_of_hdr(frame: Any) -> str:
    return {PQ: "PQ", HLG: "HLG"}[int(frame.color_trc)]


def to_sdr(rgb: UInt16[np.ndarray, "H W 3"], transfer: int) -> UInt8[np.ndarray, "H W 3"]:
    """Coded RGB of BT.2020, its whole range in 16 bits, as RGB of BT.709 in 8 bits.

    ``transfer``: `PQ` or `HLG`.
    """
    red, green, blue = np.moveaxis(light_of(rgb, transfer), -1, 0)
    brightest = np.maximum(np.maximum(red, green), blue)
    factor = _factors()[_root_code(brightest / PQ_PEAK)] / np.float32(WHITE)
    shown = np.empty(rgb.shape, np.uint8)
    for place, (of_red, of_green, of_blue) in enumerate(TO_709):
        # not as a product of matrices, whose last digits depend on the machine
        light = (red * of_red + green * of_green + blue * of_blue) * factor
        shown[..., place] = _display_table()[_root_code(light)]
    return shown


def _root_code(light: Float32[np.ndarray, "H W"]) -> UInt16[np.ndarray, "H W"]:
    """Places in tables of light from 0 to 1, which are fine where it is dark."""
    return np.rint(np.sqrt(np.clip(light, 0, 1)) * (CODES - 1)).astype(np.uint16)


def light_of(rgb: UInt16[np.ndarray, "H W 3"], transfer: int) -> Float32[np.ndarray, "H W 3"]:
    """Linear light in cd/m², as BT.2100 has it."""
    if transfer == PQ:
        return _pq_table()[rgb]
    scene = _hlg_table()[rgb]
    luminance = scene @ np.array(LUMINANCE, np.float32)
    return scene * (PEAK * np.maximum(luminance, 1e-6) ** (HLG_GAMMA - 1))[..., None]


def pq_light(coded: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """cd/m² of values coded from 0 to 1 (SMPTE ST 2084)."""
    power = coded ** (1 / PQ_M2)
    return PQ_PEAK * (np.maximum(power - PQ_C1, 0) / (PQ_C2 - PQ_C3 * power)) ** (1 / PQ_M1)


def pq_code(light: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """The inverse of `pq_light`."""
    power = (light / PQ_PEAK) ** PQ_M1
    return ((PQ_C1 + PQ_C2 * power) / (1 + PQ_C3 * power)) ** PQ_M2


@cache
def _pq_table() -> Float32[np.ndarray, " codes"]:
    return pq_light(np.linspace(0, 1, CODES)).astype(np.float32)


@cache
def _hlg_table() -> Float32[np.ndarray, " codes"]:
    """Scene light from 0 to 1: the inverse of HLG's OETF."""
    coded = np.linspace(0, 1, CODES)
    low, high = coded**2 / 3, (np.exp((coded - HLG_C) / HLG_A) + HLG_B) / 12
    return np.where(coded <= 0.5, low, high).astype(np.float32)


@cache
def _display_table() -> UInt8[np.ndarray, " codes"]:
    """8 bits for a display of BT.1886, of the square root of its light."""
    return np.rint(255 * np.linspace(0, 1, CODES) ** (2 / GAMMA)).astype(np.uint8)


@cache
def _factors() -> Float32[np.ndarray, " codes"]:
    """By what light is multiplied to be compressed, of the square root of its share of PQ's
    peak.
    """
    light = PQ_PEAK * np.linspace(0, 1, CODES) ** 2
    return (compressed(light) / np.maximum(light, 1e-9)).astype(np.float32)


def compressed(light: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """Light of up to `PEAK` as light of up to `WHITE`, in cd/m²: the EETF of BT.2390, with blacks
    as they are.
    """
    peak = float(pq_code(np.array([PEAK]))[0])
    most = float(pq_code(np.array([WHITE]))[0]) / peak
    knee = 1.5 * most - 0.5
    coded = pq_code(np.minimum(light, PEAK)) / peak
    part = np.clip((coded - knee) / (1 - knee), 0, 1)
    bent = (
        (2 * part**3 - 3 * part**2 + 1) * knee
        + (part**3 - 2 * part**2 + part) * (1 - knee)
        + (-2 * part**3 + 3 * part**2) * most
    )
    return pq_light(np.where(coded < knee, coded, bent) * peak)
