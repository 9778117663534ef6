"""Tests of semaug.generation.generator: whatever makes images."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from semaug.engine.options import TrainOptions
from semaug.errors import UserError
from semaug.generation.acgan import ACGanSpec
from semaug.generation.generator import Generator, load_generator, of_gan, save_graph
from semaug.generation.infogan import InfoGanSpec
from semaug.generation.wgan import WGanSpec
from semaug.registry import Sizes

CPU = TrainOptions(device="cpu")
OWN = """
import torch
from torch import nn


class Own(nn.Module):
    z_size, num_classes, image, value_range = 4, 2, (3, 8, 8), (0.0, 1.0)

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 192)

    def forward(self, z, labels):
        return torch.sigmoid(self.layer(z) + labels[:, None]).unflatten(1, (3, 8, 8))


def make():
    return Own()


class Broken:
    z_size = 4
"""


def of(spec):
    torch.manual_seed(0)
    gan = spec.build(Sizes(num_classes=3, image=(3, 8, 8)))
    for _ in range(30):  # until statistics of batch norm are those of the weights
        gan.generator(torch.randn(6, spec.z_size + spec.num_codes), torch.arange(3).repeat(2))
    return of_gan(gan.generator.requires_grad_(False), spec, (3, 8, 8), num_classes=3)


@pytest.fixture(params=[WGanSpec, InfoGanSpec])
def generator(request):
    return of(request.param(z_size=5, width=6, critic_width=4))


def test_it_can_be_differentiated_by_z_of_a_batch(generator):
    z = generator.draw(4, torch.Generator().manual_seed(0)).requires_grad_()
    images = generator(z, torch.tensor([2, 0, 1, 0]))
    (gradient,) = torch.autograd.grad(images[1].square().sum(), z)
    assert (gradient.abs().sum(dim=1) > 0).tolist() == [False, True, False, False]
    assert all(not p.requires_grad for p in generator.function.parameters())


def test_gradients_are_right(generator):
    generator.function.double()
    labels = torch.tensor([2, 0])
    double = Generator(generator.function, generator.z_size, 3, (3, 8, 8), dtype=torch.float64)
    z = generator.draw(2, torch.Generator().manual_seed(0)).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: double(z, labels)[:, :, ::3, ::3], z)


def test_samples_are_bytes_that_depend_on_the_seed(generator):
    labels = torch.tensor([0, 1, 2])
    one, same, other = (
        generator.sample(labels, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert (one.shape, one.dtype) == ((3, 3, 8, 8), torch.uint8)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert generator.sample(labels[:0], torch.Generator()).shape == (0, 3, 8, 8)


def test_bytes_span_the_range_of_values():
    images = torch.tensor([-1.0, 0.0, 1.0, 3.0])
    assert Generator(len, 1, 1, (1, 1, 1)).to_bytes(images).tolist() == [0, 128, 255, 255]
    unit = Generator(len, 1, 1, (1, 1, 1), value_range=(0.0, 1.0))
    assert unit.to_bytes(images).tolist() == [0, 0, 255, 255]


def test_codes_are_uniform_and_the_rest_normal():
    z = of(InfoGanSpec(z_size=5, width=6, critic_width=4)).draw(4000, torch.Generator())
    assert z.shape == (4000, 7)
    assert z[:, 5:].abs().max() <= 1
    assert z[:, 5:].var() == pytest.approx(1 / 3, rel=0.05)
    assert z[:, :5].var() == pytest.approx(1, rel=0.05)


def test_a_graph_makes_the_same_images(tmp_path):
    generator = of(WGanSpec(z_size=5, width=6, critic_width=4))
    path = tmp_path / "generator.pt2"
    save_graph(generator, path)
    loaded = load_generator(path, TrainOptions(device="cpu", trust_code=True))
    assert loaded.describe() == generator.describe()
    z = generator.draw(5, torch.Generator().manual_seed(0)).requires_grad_()
    labels = torch.tensor([0, 2, 1, 1, 0])
    images = loaded(z, labels)
    assert_close(images, generator(z, labels))
    images.sum().backward()
    assert z.grad.abs().min() > 0
    with pytest.raises(UserError, match="torch may execute what such a file holds"):
        load_generator(path, CPU)


def test_graphs_that_are_none_are_refused(tmp_path):
    trusted = TrainOptions(device="cpu", trust_code=True)
    path = tmp_path / "a.pt2"
    with pytest.raises(UserError, match="got no such file"):
        load_generator(path, trusted)
    graph = torch.export.export(nn.ReLU(), (torch.zeros(2),))
    torch.export.save(graph, path)
    with pytest.raises(UserError, match=r"with generator\.json among its extra files"):
        load_generator(path, trusted)
    with pytest.raises(UserError, match="expected a module to make a graph of"):
        save_graph(Generator(len, 1, 1, (1, 1, 1)), path)

    class Silent(nn.Module):
        def forward(self, z, labels):
            return z[: int(labels.sum().item())]

    with pytest.raises(UserError, match="cannot be exported"):
        save_graph(Generator(Silent(), 1, 1, (1, 1, 1)), path)


@pytest.mark.parametrize("name", ["Own", "make"])
def test_code_of_ones_own_makes_images(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = f"{name.lower()}_generator.py"  # one of a name in a process
    Path(place).write_text(OWN)
    generator = load_generator(f"{place}:{name}", CPU)
    assert (generator.z_size, generator.value_range, len(generator.digest)) == (4, (0.0, 1.0), 64)
    assert generator.sample(torch.tensor([0, 1]), torch.Generator()).shape == (2, 3, 8, 8)
    with pytest.raises(UserError, match=r"expected something that makes images, .*num_classes"):
        load_generator(f"{place}:Broken", CPU)


def test_a_run_is_found_below_the_folder_of_all_runs(train_tiny, tmp_path):
    with pytest.raises(UserError, match=r"got no such folder .* semaug train digits_wgan$"):
        load_generator("digits_wgan/seed0", CPU, runs=tmp_path)
    run = train_tiny("digits_resnet8", "epochs=1")
    typo = run.folder.parent.name.replace("resnet8", "resnt8")
    with pytest.raises(UserError, match=f"did you mean {run.folder.parent.name}"):
        load_generator(typo, CPU, runs=run.folder.parent.parent)
    with pytest.raises(
        UserError, match="expected the run of a generator, got one of digits_resnet8"
    ):
        load_generator(run.folder.parent.name, CPU, runs=run.folder.parent.parent)


def test_sizes_are_checked():
    with pytest.raises(TypeError, match="expected whole numbers `z_size`"):
        Generator(len, 1.5, 2, (3, 8, 8))
    with pytest.raises(ValueError, match="`value_range` that grows"):
        Generator(len, 1, 2, (3, 8, 8), value_range=(1.0, 0.0))
    with pytest.raises(ValueError, match="`num_codes` of at most `z_size`"):
        Generator(len, 1, 2, (3, 8, 8), num_codes=2)


def test_acgan_is_told_the_class_by_its_first_layer():
    generator = of(ACGanSpec(z_size=5, width=6, critic_width=4))
    z = generator.draw(1, torch.Generator().manual_seed(0)).repeat(2, 1)
    assert not torch.equal(*generator(z, torch.tensor([0, 1])))
