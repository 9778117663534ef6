"""What other programs and people leave in a folder of photographs, and how they call its parts."""

import os
import shutil
import sys

import pytest

from tests.data.image_files import write_image


def write_pets(root, *parts):
    for part in parts:
        for n, name in enumerate(("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")):
            write_image(root / part / name, seed=n)


@pytest.mark.parametrize("parts", [("Train", "Val"), ("training", "testing"), ("train", "valid")])
def test_parts_are_no_classes(semaug, tmp_path, parts):
    write_pets(tmp_path / "photos", *parts)
    status, output, _ = semaug("data", "check", "folder", "--data-root", "photos")
    assert status == 0
    assert "2 classes: cat (2), dog (2)" in output
    assert f"training images in {parts[0]}/, test images in {parts[1]}/" in output


def test_files_that_are_passed_over_are_counted_by_check_and_when_a_run_begins(semaug, tmp_path):
    write_pets(tmp_path / "photos", "train", "val")
    for n in range(20):
        (tmp_path / f"photos/train/cat/IMG_{n}.HEIC").write_bytes(b"heic")
    for folder in ("photos/train/__MACOSX", "photos/.git", "photos/train/.ipynb_checkpoints"):
        (tmp_path / folder).mkdir()
    status, output, _ = semaug("data", "check", "folder", "--data-root", "photos")
    assert status == 0
    wanted = {"passed over in 'photos': .git/", "passed over in 'photos/train': .heic (20), "}
    assert all(line in output for line in wanted)
    assert "__MACOSX/" in output
    assert ".ipynb_checkpoints/" in output
    assert "whole" not in output

    # One that stops before it trains: there are not so many images.
    changes = ["hold_out=99", "--runs", "runs", "--data-root", "photos", "--device", "cpu"]
    status, output, _ = semaug("train", "folder_resnet18", *changes)
    assert status == 2
    assert all(line in output for line in wanted)
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").rglob("recipe.json"))


def test_what_lies_in_a_folder_of_photographs_is_no_class(semaug, tmp_path):
    write_pets(tmp_path / "photos", "")
    for name in ("runs", ".ipynb_checkpoints", "__MACOSX", "cat/.ipynb_checkpoints"):
        (tmp_path / "photos" / name).mkdir()
    for name in ("Thumbs.db", "cat/Thumbs.db", "cat/.DS_Store", "dog/desktop.ini", ".DS_Store"):
        (tmp_path / "photos" / name).touch()
    write_image(tmp_path / "photos/cat/.ipynb_checkpoints/1-checkpoint.png")
    status, output, _ = semaug("data", "check", "folder", "--data-root", "photos")
    assert status == 0
    assert "2 classes: cat (2), dog (2)" in output
    (told,) = (line for line in output.splitlines() if line.startswith("passed over"))
    assert {*told.partition(": ")[2].split(", ")} == {
        *("hidden files (5)", ".ipynb_checkpoints/ (2)", "__MACOSX/", "runs/")
    }
    # The log of a run that failed before it began is all that is left of it.
    (tmp_path / "photos/runs/folder_resnet18/seed0").mkdir(parents=True)
    (tmp_path / "photos/runs/folder_resnet18/seed0/log.txt").touch()
    assert semaug("data", "check", "folder", "--data-root", "photos")[0] == 0
    shutil.rmtree(tmp_path / "photos/runs")  # a class may have this name
    write_image(tmp_path / "photos/runs/far/1.png")
    assert "runs (1)" in semaug("data", "check", "folder", "--data-root", "photos")[1]


@pytest.mark.skipif(sys.platform == "win32", reason="needs named pipes and links")
def test_a_pipe_and_a_circle_of_links_stop_nothing(semaug, tmp_path):
    write_pets(tmp_path / "photos", "train", "val")
    os.mkfifo(tmp_path / "photos/train/cat/pipe.jpg")
    (tmp_path / "photos/train/cat/again").symlink_to(tmp_path / "photos")
    status, output, _ = semaug("data", "check", "folder", "--data-root", "photos")
    assert status == 0
    assert "cat (2), dog (2)" in output
    assert "pipes or sockets (1)" in output
    assert "links to folders that are seen anyway (1)" in output
