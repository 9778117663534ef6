"""Tests of semaug.published.numbers: its file and its look-ups."""

import re
import subprocess
import sys
from collections import Counter
from importlib.resources import files
from pathlib import Path

import pytest

from semaug.networks import NETWORKS
from semaug.published import METHODS, METRICS, PAPERS, find_published, load_published
from semaug.registry import data_sets

NUMBERS = load_published()
CARD = Path(__file__).parents[2] / "docs" / "published.md"


def test_no_place_has_two_numbers():
    places = Counter((n.paper, n.table, n.row, n.column, n.metric) for n in NUMBERS)
    assert max(places.values()) == 1


def test_names_are_from_the_lists_and_each_is_in_use():
    assert list(dict.fromkeys(number.paper for number in NUMBERS)) == list(PAPERS)
    assert {number.metric for number in NUMBERS} == METRICS.keys()
    methods = {number.method for number in NUMBERS}
    assert {part for method in methods for part in method.split("+")} == METHODS.keys()
    assert all(re.fullmatch(r"[a-z_]+(\+isda[a-z_]*)?", method) for method in methods)


def test_networks_are_ours_or_known_not_to_be():
    detectors = {f"{name}_rcnn_resnet50_fpn" for name in ("cascade", "faster", "mask")}
    others = {"deeplabv3_resnet101", "pspnet_resnet101", "resnet18", *detectors}
    assert {number.network for number in NUMBERS} - NETWORKS.keys() == others


def test_data_sets_are_ours_or_known_not_to_be():
    others = {"cifar"}
    assert {number.data for number in NUMBERS} - set(data_sets.names()) == others


def test_numbers_are_numbers_in_their_range():
    for number in NUMBERS:
        assert re.fullmatch(r"\+?\d+(\.\d+)?", number.mean_text), number
        assert re.fullmatch(r"(\d\.\d\d)?", number.std_text), number
        assert number.std is None or number.std >= 0, number
        percent = number.metric.endswith("_percent") or "_ap" in number.metric
        assert 0 < number.mean < (100 if percent else 1000), number


def test_runs_are_those_of_the_captions_for_what_is_a_mean():
    captions = {("isda", table): 5 for table in "2456"}
    captions |= {("isda-neurips", table): 3 for table in "123"}
    for number in NUMBERS:
        is_mean = number.metric == "error_percent"
        runs = captions.get((number.paper, number.table)) if is_mean else None
        assert number.runs == runs, number


def test_the_file_is_plain():
    content = files("semaug.published").joinpath("published.csv").read_bytes()
    text = content.decode("utf-8")
    header, *lines = text.removesuffix("\n").split("\n")
    assert header == "paper,table,row,column,data,network,method,metric,mean,std,runs,note"
    assert len(lines) == len(NUMBERS)
    assert not any(line != line.strip() or line == "" for line in lines)
    assert not set("\r\ufeff\t") & set(text)


def test_a_number_is_text_and_a_float():
    (number,) = find_published("ait", "4", row="10% of the data", metric="top1_accuracy_gain")
    assert (str(number), number.mean, number.std, number.runs) == ("+1.44", 1.44, None, None)
    with pytest.raises(AttributeError):
        number.note = "mine"


def test_names_that_exist_but_not_together_find_nothing():
    assert find_published(data="svhn", method="ait") == ()
    assert find_published() == NUMBERS


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"paper": "isda_neurips"}, "unknown paper 'isda_neurips'; did you mean 'isda-neurips'?"),
        ({"paper": "ait", "table": 6}, "unknown table '6'; choose from 1, 2, 3, 4, 5, fig4"),
        ({"paper": "ait", "table": 3, "row": "rp"}, "unknown row 'rp'; choose from 20% of the"),
        ({"column": "Top1"}, "unknown column 'Top1'; did you mean 'Top-1'?"),
        ({"data": "cifar-10"}, "unknown data 'cifar-10'; did you mean 'cifar10'?"),
        ({"network": "resnet32_cifr"}, "unknown network .*; did you mean 'resnet32_cifar'?"),
        ({"method": "cutout+isd"}, "unknown method 'cutout+isd'; did you mean 'cutout+isda'?"),
        ({"metric": "error"}, "unknown metric 'error'; the nearest of .* are error_percent, "),
    ],
)
def test_unknown_names_fail_with_the_nearest_one(names, message):
    pattern = message.replace("?", r"\?").replace("+", r"\+")
    with pytest.raises(ValueError, match=f"^find_published: {pattern}"):
        find_published(**names)


def test_a_name_must_be_a_string():
    with pytest.raises(TypeError, match=r"find_published: expected `table` to be a str, got 4\.5"):
        find_published("ait", 4.5)


def test_the_card_lists_every_method_and_metric():
    listed = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", CARD.read_text(), re.MULTILINE))
    assert {name: listed[name] for name in METHODS | METRICS} == METHODS | METRICS


def test_nothing_here_imports_torch():
    code = (
        "import semaug.published as r, sys; r.load_published(); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
