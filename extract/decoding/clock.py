"""When frames are shown, where a file's own times collide, jump or go back.

The clock is read as the ffmpeg program reads it by default. In containers whose clock may start
anew (transport and program streams, Ogg) a jump back, or one forward of more than ten seconds, is
taken out, and the time goes on. In all others a jump forward is a pause, up to thirty hours. Where
ffmpeg leaves a clock that goes back as it is, here it goes on too: no video is shown backwards.

Dimensions: P packets in the order of the file, N frames in the order in which the decoder shows
them. A tick is the stream's unit of time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

LARGEST_STEP_S = 10.0  # of a clock that may start anew
LARGEST_PAUSE_S = 30 * 3600.0  # of any other
BACKWARDS_S = 0.1  # a smaller step back is no new start


@dataclass(frozen=True)
class Packet:
    """What the container says of a packet.

    pts, dts: when it is shown and decoded, in ticks, or None. duration: ticks, 0 where it is not
    said. is_cut: an edit list leaves it out. is_corrupt: bytes of it were lost on the way.
    """

    pts: int | None
    dts: int | None
    duration: int
    is_key: bool
    is_cut: bool
    is_corrupt: bool


def corrections(
    packets: Sequence[Packet], tick: float, rate: float, starts_anew: bool
) -> Int64[np.ndarray, " P"]:
    """What to add to the times of each packet, in ticks.

    ``tick``: seconds. ``rate``: frames a second, where packets do not say how long they last.
    ``starts_anew``: whether the container's clock may.
    """
    step = max(1, round(1 / (rate * tick)))
    forward = round((LARGEST_STEP_S if starts_anew else LARGEST_PAUSE_S) / tick)
    backwards = round(BACKWARDS_S / tick)
    added = np.zeros(len(packets), np.int64)
    offset, last, expected = 0, 0, 0
    begun = False
    for place, packet in enumerate(packets):
        if packet.dts is not None:
            time = packet.dts + offset
            if begun and (
                time > expected + forward
                or time + backwards < last
                or (not starts_anew and _is_alone(packets, place, offset, last, backwards))
            ):
                offset += expected - time
                time = expected
            last, expected, begun = time, time, True
        expected += packet.duration or step
        added[place] = offset
    return added


def _is_alone(
    packets: Sequence[Packet], place: int, offset: int, last: int, backwards: int
) -> bool:
    """Whether a packet's time lies ahead of both neighbours, whose times go on."""
    after = packets[place + 1].dts if place + 1 < len(packets) else None
    here = packets[place].dts
    if after is None or here is None:
        return False
    return last <= after + offset < here + offset - backwards


def shown_at(times: Sequence[float | None], rate: float) -> Float64[np.ndarray, " N"]:
    """Seconds at which frames are shown, the first at 0, none before the one in front of it.

    ``times``: seconds, as the file says; None where it does not, and such a frame is put between
    its neighbours. ``rate``: frames a second, beyond the last known time.
    """
    known = np.array([time is not None for time in times], bool)
    if not known.any():
        return np.arange(len(times)) / rate
    place = np.flatnonzero(known)
    value = _ascending(np.array([time for time in times if time is not None], np.float64))
    every = np.arange(len(times))
    seconds = np.interp(every, place, value)
    seconds -= np.maximum(place[0] - every, 0) / rate
    seconds += np.maximum(every - place[-1], 0) / rate
    return seconds - seconds[0]


def _ascending(times: Float64[np.ndarray, " K"]) -> Float64[np.ndarray, " K"]:
    """Times without those that alone lie before or behind their neighbours."""
    times = times.copy()
    for place in range(1, len(times)):
        if times[place] < times[place - 1]:
            before = times[place - 2] if place > 1 else times[place]
            if times[place] >= before:  # the one in front lies too late
                times[place - 1] = (before + times[place]) / 2
            else:
                times[place] = times[place - 1]
    return times
