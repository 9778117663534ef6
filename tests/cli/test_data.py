"""Tests of semaug.cli.data."""

import hashlib
import re

import pytest
import torch
from PIL import Image
from torchvision.datasets import utils
from typer.testing import CliRunner

from semaug.cli.data import data_command
from semaug.data import DataSet, ImageSet
from semaug.data.source import Download, OfficialFiles
from semaug.errors import UserError
from semaug.registry import data_sets
from tests.data.toy_source import register

CONTENT = b"all of it"
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Return a function that runs a command in an empty folder, and gives its result."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEMAUG_DATA", raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    return lambda *arguments: CliRunner().invoke(data_command, arguments)


@pytest.fixture
def toy(monkeypatch):
    """Register a set of one file, whose download works."""
    labels = torch.tensor([0, 0, 1])
    images = torch.full((3, 3, 4, 5), 51, dtype=torch.uint8)
    part = ImageSet(images, labels, ("cat", "dog"))
    data = DataSet("toy", part, part, (0.5,) * 3, (0.2,) * 3)
    downloads = (Download("http://host/file", MD5, ("file",)),)
    files = OfficialFiles("toy", "toy-files", {"file": MD5}, downloads)
    register(monkeypatch, "toy", data, "three images", files=files)
    monkeypatch.setattr(
        utils, "download_url", lambda url, folder, name, md5: (folder / name).write_bytes(CONTENT)
    )


def test_list_tells_every_set_and_what_is_there(run, toy, tmp_path):
    result = run("list")
    assert result.exit_code == 0
    words = result.stdout.split()
    assert set(data_sets.names()) <= set(words)
    assert re.search(r"toy +missing +three images", result.stdout)
    assert re.search(r"digits +1,797", result.stdout)
    run("fetch", "toy")
    assert re.search(r"toy +found +three images", run("list").stdout)
    assert re.search(r"toy +missing", run("list", "--data-root", "elsewhere").stdout)
    (tmp_path / "data" / "tiny-imagenet-200").mkdir()
    assert re.search(r"tiny_imagenet +found", run("list").stdout)


def test_fetch_tells_what_it_did(run, toy, tmp_path):
    result = run("fetch", "toy", "--data-root", "sets")
    assert (result.exit_code, result.stdout) == (0, "fetched sets/toy-files/file\n")
    assert (tmp_path / "sets/toy-files/file").read_bytes() == CONTENT
    result = run("fetch", "toy", "--data-root", "sets")
    assert result.stdout == "all files of toy are in sets already\n"


def test_check_measures_a_good_set(run, toy):
    run("fetch", "toy")
    result = run("check", "toy", "--workers", "1")
    assert result.exit_code == 0
    assert "toy, 2 classes" in result.stdout
    for row in (
        r"train .* test",
        r"images .* 3 .* 3 ",
        r"per class .* 1 to 2 .* 1 to 2 ",
        r"pixels .* 4 x 5 .* 4 x 5 ",
        r"mean .* 0\.200 0\.200 0\.200 .* 0\.200 0\.200 0\.200",
        r"std .* 0\.000 0\.000 0\.000 .* 0\.000 0\.000 0\.000",
    ):
        assert re.search(row, result.stdout)
    assert result.stdout.endswith("toy is whole\n")


def test_check_names_what_is_wrong_and_what_mends_it(run, toy):
    result = run("check", "toy")
    assert "got no file 'data/toy-files/file'; fetch it with: semaug data fetch" in result.stdout
    assert isinstance(result.exception, UserError)
    assert str(result.exception) == "data check: 1 problem with toy in 'data'"


def test_what_mends_several_problems_is_told_once(run, tmp_path):
    result = run("check", "cifar10")
    assert str(result.exception).startswith("data check: ")
    lines = result.stdout.replace("\n", " ")
    assert lines.count("got no file") > 5
    assert lines.count("fetch it with") == 1


def test_check_shows_twenty_problems_beside_what_is_good(run, tmp_path):
    for number in range(23):
        path = tmp_path / "photos" / "cat" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"no image")
    (tmp_path / "photos" / "dog").mkdir()
    for name in ("cat", "dog"):
        Image.new("RGB", (7, 6)).save(tmp_path / "photos" / name / "good.png")
    result = run("check", "folder", "--data-root", "photos")
    assert "6 x 7" in result.stdout
    assert result.stdout.count("cannot read") == 20
    assert "and 3 more" in result.stdout
    assert str(result.exception) == "data check: 23 problems with folder in 'photos'"


def test_check_takes_options_of_the_set(run, tmp_path):
    for part in ("train", "val", "test"):
        for name in ("cat", "dog"):
            (tmp_path / "data" / part / name).mkdir(parents=True)
            Image.new("RGB", (7, 6)).save(tmp_path / "data" / part / name / "1.png")
    assert "choose with data.test=test or data.test=val" in run("check", "folder").stdout
    result = run("check", "folder", "test=val")
    assert result.exit_code == 0
    assert "training images in train/, test images in val/" in result.stdout
    assert "passed over in 'data': test/" in result.stdout
    assert result.stdout.endswith("every image of folder can be decoded\n")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["check", "folder", "tset=a"], UserError, "data check folder: unknown option 'tset'; did"),
        (["fetch", "cifar11"], UserError, "unknown data set 'cifar11'; did you mean"),
        (["check", "cifar11"], UserError, "data check: unknown data set 'cifar11'; did you mean"),
        (["fetch", "imagenet"], UserError, "only image-net.org hands it out"),
        (["fetch", "toy"], ConnectionError, "expected a file of MD5 sum .* at http://host/file"),
    ],
)
def test_mistakes_are_errors_that_end_in_one_line(run, toy, monkeypatch, arguments, error, message):
    def fail(*_):
        raise TimeoutError("timed out")

    monkeypatch.setattr(utils, "download_url", fail)
    result = run(*arguments)
    assert type(result.exception) is error
    assert re.search(message, str(result.exception))
    assert "\n" not in str(result.exception)


@pytest.mark.parametrize("command", ["fetch", "check"])
def test_help_teaches_by_example(run, command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"semaug data {command} cifar10 --data-root data" in result.stdout


def test_no_command_shows_help(run):
    assert "List, fetch and check data sets" in run().output
