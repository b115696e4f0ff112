"""Random changes to bytes and to JSON documents, as damage and as strangers make them."""

from __future__ import annotations

import copy
import json
import math
from random import Random
from typing import Any

HOSTILE: tuple[Any, ...] = (
    *(None, True, False, "", [], {}, 0, -1, 1, 0.5, -1e308, 2**31, 2**60, 2**63, 2**64, 10**400),
    *(math.nan, math.inf, -math.inf, "nan", "1e999", "x" * 100_000, "9" * 5000),
    *("../../etc/passwd", "/etc/passwd", "..", ".", "a/../../b/c.h5", "C:\\a", "~root", "a\0b"),
    *("\x1b[2J\x1b]0;owned\x07", "a\nb\r\n", "\u202eabc", "\ud800", "\udc80", "{{7*7}}", "%n%s"),
    *("<script>alert(1)</script>", "file:///etc/passwd", "uniform:frames=1000000000"),
    *("dynamic:experts=1000000000", "concat:hidden=1000000000", "gru:hidden=1000000000"),
    *("indices:file=/etc/passwd", "kfold:k=1000000000", "random:n=1000000000"),
    *([[]], [1] * 10_000, {"": {"": {}}}, [None], ["a", 1], [2**40, 2**40], [2**63, 3], [-1]),
    *("O", "V0", "f4,f4", "S999999999", ">f2", "U9", "<f16", "<c8", "M8[s]"),
)


def mutated_bytes(data: bytes, random: Random) -> bytes:
    """One bit, a range, an end or an insertion."""
    changed = bytearray(data)
    # most of a small track was never written, and is 0
    places = [place for place, byte in enumerate(data) if byte] or [0]
    place = random.choice(places)
    match random.randrange(5):
        case 0 | 1:
            changed[place] ^= 1 << random.randrange(8)
        case 2:
            other = random.randbytes(random.randint(1, 200))
            changed[place : place + len(other)] = other[: len(changed) - place]
        case 3:
            del changed[random.choice((place, random.randrange(len(data)))) :]
        case _:
            changed[place:place] = random.randbytes(random.randint(1, 100))
    return bytes(changed)


def mutated_json(document: Any, random: Random) -> Any:
    """A document with a value that is another, is gone, is there twice, or has another name."""
    changed = copy.deepcopy(document)
    for last in random.choice(((True,), (True,), (False, True), (False, False, True))):
        holder, key = random.choice(list(_places(changed)))
        # what is deep comes last, since Python cannot copy it
        match random.randrange(8 if last else 4):
            case 0 if isinstance(holder, dict):
                holder[_name(random)] = holder.pop(key)
            case 1:
                del holder[key]
            case 2 if isinstance(holder, list):
                holder.insert(key, copy.deepcopy(holder[key]))
            case 3 if isinstance(holder[key], int | float):
                holder[key] = holder[key] * random.choice((-1, 0, 2, 1000, 2**40)) + 1
            case 4:
                holder[key] = _deep(random.choice((10, 500, 20_000)))
            case _:
                holder[key] = copy.deepcopy(random.choice(HOSTILE))
        if not any(_places(changed)):
            break
    return changed


def mutated_text(document: Any, random: Random) -> str:
    """JSON text of `mutated_json`, which may hold what Python writes of no document."""
    changed = mutated_json(document, random)
    try:
        text = json.dumps(changed)
    except (RecursionError, ValueError):
        return "[" * 100_000
    return text


def _places(document: Any) -> Any:
    """Each value below ``document``, as what holds it and its key."""
    waiting = [document]
    while waiting:
        holder = waiting.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        for key in keys:
            yield holder, key
            if isinstance(holder[key], dict | list) and len(holder[key]) < 1000:
                waiting.append(holder[key])


def _name(random: Random) -> str:
    return str(random.choice([item for item in HOSTILE if isinstance(item, str)]))


def _deep(depth: int) -> Any:
    document: Any = "deep"
    for _ in range(depth):
        document = [document]
    return document
