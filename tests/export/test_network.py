"""Tests of semaug.export.network."""

from dataclasses import replace

import pytest
import timm
import torch
from safetensors.torch import load_file
from torch import nn
from torch.testing import assert_close

from semaug.engine.trained import load_trained
from semaug.errors import UserError
from semaug.export import export_run
from semaug.export.network import difference, plain_network
from semaug.methods import Supervised
from semaug.runs.checkpoint import load_checkpoint
from tests.engine import toys
from tests.export.conftest import CPU
from tests.tiny import train_quietly


def test_the_weights_are_the_averaged_ones_if_these_were_tested(of_isda):
    plain = plain_network(of_isda)
    state = load_checkpoint(of_isda.run.checkpoint)["objects"]
    weight = plain.network.state_dict()["conv1.weight"]
    assert torch.equal(weight, state["average"]["averaged.0.model.conv1.weight"])
    assert not torch.equal(weight, state["method"]["network.model.conv1.weight"])
    assert not plain.network.training
    assert_close(plain.network(plain.images), of_isda.logits(plain.images))


def test_the_networks_of_other_methods_are_found_by_what_they_answer(make_run):
    run = make_run("digits_resnet8", "labeled_per_class=4", "epochs=1")
    specs = {"method": toys.Consistent(), "network": toys.Plain(drop_rate=0.5)}
    train_quietly(replace(run, recipe=replace(run.recipe, **specs)))
    trained = load_trained(run.folder, CPU)
    for name, part in (("", trained.method.network), ("teacher", trained.method.teacher)):
        plain = plain_network(trained, name)
        assert plain.spec == toys.Plain(drop_rate=0.5)
        assert plain.part is part
        assert plain.network.state_dict().keys() == part.state_dict().keys()
        assert torch.equal(plain.logits, part(plain.images))


def test_a_prediction_of_several_networks_has_none_behind_it(load_tiny):
    class Mean(Supervised):
        def predict(self, images):
            return sum(network(images) for network in self.network) / len(self.network)

    first, second = (load_tiny("digits_resnet8", f"lr={lr}") for lr in (0.1, 0.05))
    networks = nn.ModuleList([first.method.network, second.method.network])
    both = replace(first, method=Mean(networks, nn.MSELoss()).eval())
    with pytest.raises(UserError, match="makes the predictions of predictor '' alone, found none"):
        plain_network(both)
    with pytest.raises(UserError, match=r"expected no `predictor`.*, got 'teacher'"):
        plain_network(both, "teacher")


def test_finding_a_network_draws_nothing(of_isda):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    plain_network(of_isda)
    assert torch.equal(before, torch.get_rng_state())


def test_differences_are_relative_to_large_logits_alone():
    logits = torch.tensor([[0.5, -0.25]])
    assert difference(logits + 0.1, logits) == pytest.approx(0.1)
    assert difference(1000 * logits + 0.1, 1000 * logits) == pytest.approx(0.1 / 500, rel=1e-3)
    assert difference(logits, logits[:, :1]) == float("inf")


@pytest.mark.parametrize("parts", ["backbone", "conv1,bn1"])
def test_frozen_batch_norms_become_those_of_plain_timm(load_tiny, tmp_path, parts):
    torch.manual_seed(77)
    source = timm.create_model("resnet8_cifar", num_classes=5)
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    start = f"network.weights={tmp_path / 'weights.pth'}"
    trained = load_tiny("digits_resnet8_isda", start, f"freeze={parts}")
    assert any("Frozen" in type(one).__name__ for one in trained.method.modules())
    export_run(trained, tmp_path / "net")
    network = timm.create_model("resnet8_cifar", num_classes=10).eval()
    network.load_state_dict(load_file(tmp_path / "net" / "model.safetensors"))
    assert network.bn1.num_batches_tracked == 0
    images = trained.prepare(trained.data.test.images)
    assert_close(network(images), trained.logits(images))
