"""Values that hold arrays are the same where they are one object.

Whether the dataclasses' own == works for them depends on the version of Python: until 3.12 it finds
an array equal to itself, from 3.13 on it asks numpy, which answers with an array.
"""

import collections.abc
import dataclasses
import importlib
import pkgutil
import types
import typing
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
import torch

import vqa_twostage
from vqa_twostage.fuse.splits import Split

ARRAYS = (np.ndarray, torch.Tensor, pd.DataFrame, pd.Series)


def holds_array(hint: object) -> bool:
    """Whether a value of this type has an array in it."""
    if typing.get_origin(hint) is collections.abc.Callable:
        return False
    array = getattr(hint, "array_type", hint)  # jaxtyping's
    return array in ARRAYS or any(map(holds_array, typing.get_args(hint)))


def hints_of(dataclass: type) -> list[object]:
    try:
        hints = typing.get_type_hints(dataclass)
    except NameError:  # what is imported for type checkers alone
        hints = {}
    return [hints[field.name] for field in dataclasses.fields(dataclass) if field.name in hints]


def dataclasses_of(module: types.ModuleType) -> Iterator[type]:
    for value in vars(module).values():
        own = getattr(value, "__module__", "") == module.__name__
        if own and isinstance(value, type) and dataclasses.is_dataclass(value):
            yield value


def dataclasses_with_arrays() -> Iterator[type]:
    for module in pkgutil.walk_packages(vqa_twostage.__path__, "vqa_twostage."):
        if not module.name.endswith("__main__"):
            for dataclass in dataclasses_of(importlib.import_module(module.name)):
                if any(map(holds_array, hints_of(dataclass))):
                    yield dataclass


@pytest.mark.long  # imports every module
def test_values_with_arrays_are_compared_as_objects() -> None:
    found = list(dataclasses_with_arrays())
    assert {"Features", "Manifest", "Split", "VideoFeatures"} <= {each.__name__ for each in found}
    assert [each for each in found if each.__eq__ is not object.__eq__] == [], "they lack eq=False"


def test_comparing_such_values_asks_no_array() -> None:
    split = Split(0, *(np.array(rows) for rows in ([0, 1], [2, 3], [4, 5])))
    assert split == split
    assert split != dataclasses.replace(split)
    assert split in {split}
