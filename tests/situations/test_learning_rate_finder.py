"""Lightning's learning-rate finder trains for a while and puts back what it found: the loss too."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import semaug

pl = pytest.importorskip("pytorch_lightning")

# What Lightning says about itself or about a machine.
pytestmark = [
    pytest.mark.filterwarnings(r"ignore:`isinstance\(treespec, LeafSpec\)` is deprecated"),
    pytest.mark.filterwarnings(r"ignore:The '\w+' does not have many workers"),
]


class Module(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.lr = 1e-3
        self.model = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3))
        isda = semaug.ISDALoss(3, 8, strength=0.5, ramp_steps=100)
        self.criterion = semaug.attach(self.model, isda)

    def training_step(self, batch, index):
        return self.criterion(self.model(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr)


def test_ramp_and_statistics_begin_after_it(tmp_path):
    from pytorch_lightning.tuner import Tuner

    module = Module()
    isda = module.criterion.isda
    calls = []
    isda.register_forward_hook(lambda *call: calls.append(int(isda.step)))
    images = torch.randn(64, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    loader = DataLoader(TensorDataset(images, torch.arange(64) % 3), batch_size=8)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(max_epochs=3, accelerator="cpu", default_root_dir=tmp_path, **quiet)
    Tuner(trainer).lr_find(module, loader, num_training=20, early_stop_threshold=None)
    assert max(calls) > 10  # it did train
    assert isda.step == 0
    assert not isda.estimator.count.any()
    assert not isda.estimator.covariance.any()
    trainer.fit(module, loader)
    assert isda.step == 3 * 8
    assert isda.estimator.count.sum() == 3 * 64
