"""Tests of semaug.data.unpickle."""

import io
import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest

from semaug.data.unpickle import load_arrays


class _Call:
    """Pickles as a call of ``function(argument)``."""

    def __init__(self, function, argument):
        self.function, self.argument = function, argument

    def __reduce__(self):
        return self.function, (self.argument,)


def test_arrays_strings_lists_and_dicts_come_back():
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    loaded = load_arrays(
        io.BytesIO(pickle.dumps({b"data": pixels, b"labels": [1, 2], "x": 0.5}, protocol=3)), "file"
    )
    np.testing.assert_array_equal(loaded[b"data"], pixels)
    assert loaded[b"labels"] == [1, 2]
    assert loaded["x"] == 0.5


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_arrays_of_both_numpy_generations_come_back(module):
    content = pickle.dumps(np.arange(5, dtype=np.uint8), protocol=3)
    for name in (b"numpy.core.multiarray", b"numpy._core.multiarray"):
        content = content.replace(b"c" + name + b"\n", b"c" + module + b"\n")
    assert module in content
    np.testing.assert_array_equal(load_arrays(io.BytesIO(content), "file"), np.arange(5))


def test_strings_of_python_2_become_bytes():
    assert load_arrays(io.BytesIO(b"\x80\x02U\x03abc."), "file") == b"abc"


def test_a_call_of_the_system_is_refused_and_does_not_run(tmp_path):
    target = tmp_path / "made by the pickle"
    content = pickle.dumps({b"data": _Call(os.mkdir, str(target))}, protocol=3)
    pickle.loads(content)
    assert target.exists(), "the pickle is dangerous to others"
    target.rmdir()
    with pytest.raises(ValueError, match=rf"cannot read 'file': .*, got {os.name}\.mkdir"):
        load_arrays(io.BytesIO(content), "file")
    assert not target.exists()


@pytest.mark.parametrize("function", [eval, getattr, np.load, np.memmap])
def test_other_names_are_refused_even_of_numpy(function):
    content = pickle.dumps(_Call(function, "1"), protocol=3)
    with pytest.raises(ValueError, match="expected arrays, strings, numbers"):
        load_arrays(io.BytesIO(content), "file")


@pytest.mark.parametrize(
    "content",
    [
        b"no pickle at all",
        b"\x80\x63.",  # a protocol of the future
        b"\x80\x02.",  # nothing on the stack
        b"\x80\x02h\x05.",  # what was never remembered
        b"\x80\x02K\x01K\x02R.",  # a number is called
        b"\x80\x02K\x01}U\x01aK\x01sb.",  # a number gets attributes
        b"\x80\x02X\x01\x00\x00\x00\xff.",  # no text
    ],
)
def test_malformed_pickles_are_named(content):
    with pytest.raises(ValueError, match="load_arrays: cannot read 'file': "):
        load_arrays(io.BytesIO(content), "file")


def test_pickles_cut_short_anywhere_are_named():
    content = pickle.dumps({b"data": np.arange(3, dtype=np.uint8), b"labels": [1, 2]}, protocol=3)
    for length in range(len(content)):
        with pytest.raises(ValueError, match="load_arrays: cannot read 'file': "):
            load_arrays(io.BytesIO(content[:length]), "file")


def test_strings_of_python_2_become_text_of_a_given_encoding():
    ordered = pickle.dumps(OrderedDict(a=np.arange(2)), protocol=3)
    assert list(load_arrays(io.BytesIO(ordered), "weights.pkl")) == ["a"]
    of_python_2 = b"(dp0\nS'a\\xe9'\np1\nI1\ns."
    assert load_arrays(io.BytesIO(of_python_2), "weights.pkl") == {b"a\xe9": 1}
    assert load_arrays(io.BytesIO(of_python_2), "weights.pkl", encoding="latin1") == {"aé": 1}
