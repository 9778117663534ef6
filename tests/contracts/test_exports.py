"""What any method trained goes back into plain timm."""

import pytest
import timm
from safetensors.torch import load_file
from torch.testing import assert_close

from semaug.engine.options import TrainOptions
from semaug.engine.trained import load_trained
from semaug.export import export_run
from semaug.registry import methods

CPU = TrainOptions(device="cpu")

# Options that a method cannot do without.
NEEDED = {name: ["peers=resnet20_cifar"] for name in ("dml", "multi_ait")}
NEEDED |= {
    name: ["labeled_per_class=4"] for name in methods.names() if hasattr(methods.get(name), "host")
}
NEEDED["segmentation"] = [
    "data=tests.engine.toys:Squares",
    "network=pspnet_test_resnet",
    "batch_size=4",
    "train_per_class=none",
    "test_images=none",
]
NEEDED["generated"] = ["generator=tests.engine.toys:Shades", "pool_size=20"]
LOSSES = {
    "cross_entropy": ["loss=cross_entropy"],
    "isda": ["loss=isda", "strength=0.5"],
    "averaged isda": ["loss=isda", "strength=0.5", "ema_decay=0.5"],
}
CASES = [
    (name, [*NEEDED.get(name, ()), *own]) for name in methods.names() for own in LOSSES.values()
]
CASES.append(("ait", ["ai_layer=feature_map", "loss=isda", "strength=0.5"]))
CASES.append(("supervised", ["loss=large_margin"]))  # whose classifier has a bias of zeros
NETWORKS = {"": "resnet8_cifar", "network 2": "resnet20_cifar", "student": "resnet8_cifar"}


@pytest.mark.parametrize(("method", "changes"), CASES, ids=str)
def test_plain_timm_computes_what_the_run_tested(train_tiny, tmp_path, method, changes):
    run = train_tiny("digits_resnet8", f"method={method}", *changes, "epochs=1")
    trained = load_trained(run.folder, CPU)
    images = trained.prepare(trained.data.test.images)
    for name in trained.predictors:
        folder = tmp_path / f"export {name}"
        about = export_run(trained, folder, predictor=name)
        dense = method == "segmentation"
        assert about["network"]["name"] == ("pspnet_test_resnet" if dense else NETWORKS[name])
        assert about["averaged"] == ("ema_decay=0.5" in changes)
        arguments = about["network"]["arguments"]
        network = timm.create_model(about["network"]["name"], **arguments).eval()
        network.load_state_dict(load_file(folder / "model.safetensors"))
        assert_close(network(images), trained.logits(images, name))
        if dense:  # tested at the resolution of the masks
            continue
        error = 100 * (network(images).argmax(1) != trained.data.test.labels).double().mean()
        recorded = run.summary()["results"][name]["error"]["last"]
        assert float(error) == pytest.approx(recorded, abs=1e-9)


def test_another_run_begins_with_an_export(train_tiny, tmp_path):
    trained = load_trained(train_tiny("digits_resnet8_isda", "epochs=1").folder, CPU)
    export_run(trained, tmp_path / "net")
    changes = [f"network.weights={tmp_path / 'net'}", "lr=1e-30", "epochs=1"]
    again = load_trained(train_tiny("digits_resnet8", *changes, root="again").folder, CPU)
    weights = load_file(tmp_path / "net" / "model.safetensors")
    assert_close(again.method.network.state_dict()["fc.weight"], weights["fc.weight"])
