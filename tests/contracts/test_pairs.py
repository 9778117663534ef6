"""Tests of tests.pairs: nothing that is asked for is left out of the default run."""

import itertools

import pytest

from tests.pairs import covering, options_of

pytest_plugins = ["pytester"]

KINDS = ["full", "diagonal", "low_rank", "full, shrunk", "low_rank, shrunk", "full, fading, shrunk"]
AXES = {"kind": KINDS, "size": [1, 3, 40], "static": [False, True], "extra": [{}, {"a": 1, "b": 2}]}


def chosen_of(axes):
    cases = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    return cases, [cases[place] for place in covering(options_of(cases))]


def test_each_value_and_each_pair_of_options_is_in_a_case():
    cases, chosen = chosen_of(AXES)
    assert len(chosen) < len(cases) / 3
    for name, values in AXES.items():
        assert all(any(case[name] == value for case in chosen) for value in values)
    for kind in ("full", "diagonal", "low_rank", "shrunk", "fading"):
        for other in ("size", "static", "extra"):
            met = [case[other] for case in chosen if kind in case["kind"].split(", ")]
            assert all(value in met for value in AXES[other])
    for size, static in itertools.product(AXES["size"], AXES["static"]):
        assert any(case["size"] == size and case["static"] == static for case in chosen)


def test_two_parameters_of_plain_values_keep_all_their_combinations():
    cases, chosen = chosen_of({"size": [1, 2, 3], "name": ["a", "b"]})
    assert chosen == cases


def test_what_varies_together_is_one_parameter():
    cases = [{"x": 0, "y": 0, "z": 0}, {"x": 0, "y": 1, "z": 1}, {"x": 1, "y": 0, "z": 1}]
    cases.append({"x": 1, "y": 1, "z": 0})
    assert covering(options_of(cases, [["x", "y", "z"]])) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("arguments", "passed"), [([], 5), (["--full"], 8), (["-m", "full"], 3), (["-m", "slow"], 0)]
)
def test_the_others_are_left_out_unless_asked_for(pytester, arguments, passed):
    pytester.makeconftest("from tests.pairs import pytest_addoption, pytest_collection_modifyitems")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("x", [0, 1])
        @pytest.mark.parametrize("y, z", [(0, 0), (1, 0)])
        @pytest.mark.parametrize("w", "ab")
        def test(x, y, z, w):
            pass
        """
    )
    result = pytester.inline_run(*arguments, "-p", "no:cacheprovider")
    assert result.countoutcomes() == [passed, 0, 0]
