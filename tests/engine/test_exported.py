"""Tests of semaug.engine.exported, and of semaug.load on exports."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

import semaug
from semaug.engine.exported import Exported, load_exported
from semaug.engine.options import TrainOptions
from semaug.engine.trained import load_trained
from semaug.errors import UserError
from semaug.export import export_run
from semaug.export.formats import FORMATS
from tests.data.image_files import write_image
from tests.engine import toys
from tests.tiny import tiny_run, train_quietly

CPU = TrainOptions(device="cpu", workers=0)
TRUSTING = replace(CPU, trust_code=True)
QUIET = {"device": "cpu", "workers": 0}


@pytest.fixture(scope="module")
def of_isda(tmp_path_factory):
    """Return the networks of a run with ISDA and averaged weights; nothing may change them."""
    root = tmp_path_factory.mktemp("exported")
    run = tiny_run(root, "digits_resnet8_isda", "epochs=1", "ema_decay=0.5")
    train_quietly(run)
    return load_trained(run.folder, CPU)


@pytest.mark.parametrize("to", FORMATS)
def test_an_export_predicts_as_its_run(of_isda, tmp_path, to):
    try:
        FORMATS[to].check_installed()
    except UserError as error:
        pytest.skip(str(error))
    export_run(of_isda, tmp_path / "net", to)
    exported = semaug.load(str(tmp_path / "net"), **QUIET, trust_code=to == "torch_export")
    assert isinstance(exported, Exported)
    assert exported.classes == of_isda.classes
    images = of_isda.data.test.images
    found, wanted = exported.predict(images), of_isda.predict(images)
    if FORMATS[to].has_graph:
        assert_close(found.logits, wanted.logits, atol=1e-4, rtol=0)
    else:
        assert torch.equal(found.logits, wanted.logits)
    write_image(tmp_path / "photo.jpg", 30, 20)
    (one,) = exported.predict(tmp_path / "photo.jpg").top(2)
    (other,) = of_isda.predict(tmp_path / "photo.jpg").top(2)
    assert [name for name, _ in one] == [name for name, _ in other]
    with pytest.raises(UserError, match="one network alone, got 'network 2'"):
        exported.predict(images, "network 2")


def test_a_graph_of_a_run_in_float64_computes_in_float32(train_tiny, tmp_path):
    run = train_tiny("digits_resnet8", "precision=64", "epochs=1")
    trained = load_trained(run.folder, CPU)
    export_run(trained, tmp_path / "net", "torch_export")
    images = trained.data.test.images
    found = load_exported(tmp_path / "net", TRUSTING).predict(images)
    assert found.logits.dtype == torch.float32
    wanted = trained.predict(images).logits
    assert wanted.dtype == torch.float64
    assert_close(found.logits.double(), wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "changes",
    [
        ["precision=64"],
        ["precision=bf16", "channels_last=false"],
        ["evaluation.mirror=true", "evaluation.scales=1,1.5", "evaluation_batch_size=7"],
    ],
    ids=" ".join,
)
def test_an_export_computes_and_tests_as_its_run(train_tiny, tmp_path, changes):
    trained = load_trained(train_tiny("digits_resnet8", *changes, "epochs=1").folder, CPU)
    export_run(trained, tmp_path / "net")
    images = trained.data.test.images
    found = load_exported(tmp_path / "net", CPU).predict(images)
    assert torch.equal(found.logits, trained.predict(images).logits)


def test_photographs_are_cropped_as_in_the_run(make_run, tmp_path):
    for part in ("train", "val"):
        for k, name in enumerate(("cat", "dog")):
            for number in range(2):
                path = tmp_path / "photos" / part / name / f"{number}.png"
                write_image(path, 20 + k, 33, seed=number + 10 * k)
    changes = ["network=resnet8_cifar", "image_size=16", "epochs=1", "train_per_class=none"]
    run = make_run("folder_resnet18", *changes, "test_images=none", "batch_size=4")
    train_quietly(run, data_root=tmp_path / "photos", workers=0)
    trained = load_trained(run.folder, CPU)
    about = export_run(trained, tmp_path / "net", "state_dict")
    assert (about["view"], about["image"]) == ({"resize": 18, "size": 16}, [3, 16, 16])
    shutil.rmtree(run.folder)
    paths = sorted((tmp_path / "photos" / "val").rglob("*.png"))
    found = load_exported(tmp_path / "net", CPU).predict(paths)
    assert torch.equal(found.logits, trained.predict(paths).logits)


@pytest.fixture
def exported(of_isda, tmp_path):
    export_run(of_isda, tmp_path / "net", "state_dict")
    return tmp_path / "net"


def test_what_only_the_run_can_do_is_said(exported):
    path = exported / "model.json"
    about = json.loads(path.read_text()) | {"cannot_predict": "its images are whitened"}
    path.write_text(json.dumps(about))
    message = r"net: this export cannot predict, for its images are whitened; the run may"
    with pytest.raises(UserError, match=message):
        semaug.load(exported, **QUIET)


def test_other_weights_are_refused(exported):
    with (exported / "model.pt").open("ab") as file:
        file.write(b"x")
    with pytest.raises(UserError, match=r"model\.pt: expected the file that model\.json describes"):
        load_exported(exported, CPU)
    (exported / "model.pt").unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.pt"):
        load_exported(exported, CPU)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "expected JSON, got a damaged file"),
        ("[]", "expected an export of format 1, got None; export the run again"),
        ('{"format": 2}', "expected an export of format 1, got 2"),
        ('{"format": 1}', "expected what semaug export writes; export the run again: 'to'"),
        ('{"format": 1, "to": "jpeg"}', "expected what semaug export writes; .*: 'jpeg'"),
    ],
)
def test_a_damaged_description_is_named(exported, content, message):
    (exported / "model.json").write_text(content)
    with pytest.raises(UserError, match=rf"model\.json: {message}"):
        load_exported(exported, CPU)


ODD = (None, "x", [], {"a": 1}, -1, 10**400)
USED = ("to", "cannot_predict", "network", "classes", "image", "mean", "std", "view", "sha256")


def test_an_odd_description_is_named_whatever_is_odd(exported):
    path = exported / "model.json"
    good = json.loads(path.read_text())
    recipe = good["run"]["recipe"]
    inside = ("precision", "channels_last", "evaluation", "evaluation_batch_size", "deterministic")
    changed = [good | {name: odd} for name in USED for odd in ODD]
    changed += [{name: value for name, value in good.items() if name != left} for left in USED]
    others = [recipe | {name: odd} for name in inside for odd in ODD]
    others += [{name: value for name, value in recipe.items() if name != left} for left in inside]
    changed += [good | {"run": {"recipe": other}} for other in others]
    changed += [good | {"run": odd} for odd in ODD]
    refused = 0
    for about in changed:
        path.write_text(json.dumps(about))
        try:
            load_exported(exported, CPU)
        except UserError:
            refused += 1
    assert refused > 0.8 * len(changed)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"classes": [*map(str, range(11))]}, r"Error\(s\) in loading state_dict"),
        ({"view": {"resize": 10}}, "'size'"),
        ({"view": {"resize": 8, "size": 9}}, "ResizeCenterCrop: expected `size` <= `resize`"),
        ({"mean": [0.5]}, "normalize: expected one `mean`"),
        ({"run": {"recipe": {}}}, "'precision'"),
    ],
)
def test_what_does_not_fit_is_said(exported, change, reason):
    path = exported / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=rf"model\.json: expected what semaug .* again: .*{reason}"):
        load_exported(exported, CPU)


@pytest.mark.parametrize("to", ["torch_export", "onnx"])
def test_a_graph_of_other_classes_or_size_is_named(of_isda, tmp_path, to):
    try:
        FORMATS[to].check_installed()
    except UserError as error:
        pytest.skip(str(error))
    export_run(of_isda, tmp_path / "net", to)
    path = tmp_path / "net" / "model.json"
    good = json.loads(path.read_text())
    path.write_text(json.dumps(good | {"classes": good["classes"][1:]}))
    with pytest.raises(UserError, match=r"model\.json: .* again: 9 classes of 10 logits"):
        load_exported(tmp_path / "net", TRUSTING)
    path.write_text(json.dumps(good | {"image": [3, 9, 9], "view": {"height": 9, "width": 9}}))
    with pytest.raises(UserError, match=r"model\.json: expected what|onnxruntime: .*dimension"):
        load_exported(tmp_path / "net", TRUSTING)


CODE = """
from pathlib import Path

Path({place!r}).touch()
"""


def test_an_export_executes_no_code(exported, tmp_path, forget):
    (tmp_path / "evil.py").write_text(CODE.format(place=str(tmp_path / "executed")))
    path = exported / "model.json"
    about = json.loads(path.read_text())
    about["network"]["name"] = f"{tmp_path / 'evil.py'}:Net"
    path.write_text(json.dumps(about))
    with pytest.raises(UserError):
        load_exported(exported, CPU)
    assert not (tmp_path / "executed").exists()


def test_what_torch_may_execute_must_be_trusted(of_isda, tmp_path):
    export_run(of_isda, tmp_path / "net", "torch_export")
    with pytest.raises(UserError, match=r"model\.pt2: torch may execute .* add --trust-code"):
        semaug.load(tmp_path / "net", **QUIET)


def test_loading_draws_nothing(exported):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    load_exported(exported, CPU)
    assert torch.equal(before, torch.get_rng_state())


def test_a_graph_holds_a_network_of_ones_own(make_run, tmp_path):
    run = make_run("digits_resnet8", "epochs=1")
    train_quietly(replace(run, recipe=replace(run.recipe, network=toys.Plain())))
    trained = load_trained(run.folder, CPU)
    export_run(trained, tmp_path / "net", "torch_export")
    exported = load_exported(tmp_path / "net", TRUSTING)
    images = trained.data.test.images
    assert_close(exported.predict(images).logits, trained.predict(images).logits)
