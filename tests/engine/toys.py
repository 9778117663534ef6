"""Networks, methods and images that are small, for tests of the engine."""

from copy import deepcopy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from semaug._torch.distributed import max_over_ranks
from semaug.data import DataSet, ImageSet
from semaug.methods import Method, StepOutput, Stream, Supervised, Term, View

# N images of C classes, H and W pixels.


class PlainNet(nn.Module):
    """A network without batch norm, whose gradient is that of the joint batch."""

    def __init__(self, num_classes, drop_rate=0.0):
        super().__init__()
        self.num_features = 12
        first = nn.Sequential(nn.Conv2d(3, 6, 3, 2), nn.Tanh())
        second = nn.Sequential(nn.Linear(54, 12), nn.Tanh())
        self.body = nn.Sequential(first, nn.Flatten(), second)
        self.drop = nn.Dropout(drop_rate)
        self.fc = nn.Linear(12, num_classes)

    def get_classifier(self):
        return self.fc

    def forward(self, images):
        return self.fc(self.drop(self.body(images)))


@dataclass(frozen=True, kw_only=True)
class Plain:
    """Its spec, for digits of 8 x 8 pixels."""

    drop_rate: float = 0.0

    def build(self, sizes):
        return PlainNet(sizes.num_classes, self.drop_rate)


@dataclass(frozen=True, kw_only=True)
class Consistent:
    """Cross-entropy of labeled images, and two views of others that are to agree with a teacher.

    Args:
        unlabeled_batch_size: Images without labels in a step.
    """

    unlabeled_batch_size: int = 22

    def streams(self, recipe):
        unlabeled = Stream("unlabeled", self.unlabeled_batch_size, (View(), View()))
        return {"labeled": Stream(), "unlabeled": unlabeled}

    def build(self, builder):
        return ConsistentMethod(*builder.with_loss())


class ConsistentMethod(Supervised):
    """A student, a teacher that follows it, and the last prediction, plus 1, of each image."""

    def __init__(self, network, loss):
        super().__init__(network, loss)
        self.teacher = deepcopy(network).requires_grad_(False)
        self.register_buffer("memory", torch.zeros(1000, dtype=torch.int64))

    def networks(self):
        return [self.network, self.teacher]

    def predictors(self):
        return {"": self.predict, "teacher": self.teacher}

    def loss(self, batch):
        output = super().loss(batch)
        first, second = batch.unlabeled.images
        logits = self.predict(first)
        wanted = self.teacher(second).softmax(1)
        ramp = min(1.0, batch.step / 6)
        terms = {
            "supervised": output.terms["loss"],
            "consistency": Term(ramp * F.mse_loss(logits.softmax(1), wanted), "unlabeled"),
        }
        logs = {"certainty": output.outputs.softmax(1).amax(1).mean()}
        return output._replace(terms=terms, logs=logs, kept=logits.argmax(1).detach())

    @torch.no_grad()
    def after_step(self, batch, output):
        fresh = torch.zeros_like(self.memory)
        fresh.scatter_reduce_(0, batch.unlabeled.positions, output.kept + 1, "amax")
        fresh = max_over_ranks(fresh)  # each process saw other images
        self.memory.copy_(torch.where(fresh > 0, fresh, self.memory))
        average, weights = self.teacher.parameters(), self.network.parameters()
        torch._foreach_lerp_(list(average), list(weights), 0.1)


@dataclass(frozen=True, kw_only=True)
class Squares:
    """Images of noise with a bright square, whose pixels are class 1; some have no class."""

    num_images: int = 12

    def load(self, root, workers):
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 80, (self.num_images, 3, 8, 8), generator=generator)
        masks = torch.zeros(self.num_images, 8, 8, dtype=torch.uint8)
        for image, mask in zip(pixels, masks, strict=True):
            top, left = torch.randint(0, 5, (2,), generator=generator).tolist()
            image[:, top : top + 4, left : left + 4] += 150
            mask[top : top + 4, left : left + 4] = 1
            mask[top, :] = 255
        images = ImageSet(pixels.to(torch.uint8), masks, ("ground", "square"))
        return DataSet("squares", images, images, mean=(0.3,) * 3, std=(0.3,) * 3)


@dataclass(frozen=True, kw_only=True)
class Pixelwise:
    """A network of two convolutions, with logits (N, C, H, W)."""

    def build(self, sizes):
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, sizes.num_classes, 1)
        )


@dataclass(frozen=True, kw_only=True)
class Noting:
    """Supervised training that notes what it is called for."""

    def build(self, builder):
        return NotingMethod(*builder.with_loss())


class NotingMethod(Supervised):
    """It counts in buffers too, which must survive a stop."""

    notes: list[str] = []  # noqa: RUF012 - of all instances

    def __init__(self, network, loss):
        super().__init__(network, loss)
        self.register_buffer("starts", torch.zeros((), dtype=torch.int64))
        self.register_buffer("ends", torch.zeros((), dtype=torch.int64))

    def start_epoch(self, epoch):
        super().start_epoch(epoch)
        self.starts += 1
        self.notes.append(f"start_epoch {epoch}")

    def loss(self, batch):
        self.notes.append(f"loss {batch.step}")
        return super().loss(batch)._replace(kept=self._weight())

    def after_step(self, batch, output):
        assert not torch.equal(output.kept, self._weight()), "the optimizer comes before"
        self.notes.append(f"after_step {batch.step}")

    def end_epoch(self):
        super().end_epoch()
        self.ends += 1
        self.notes.append("end_epoch")

    def diagnostics(self, sample):
        self.notes.append(f"diagnostics training={self.training}")
        return {"images": torch.tensor(len(sample().labeled.images))}

    def _weight(self):
        return next(self.network.parameters()).detach().clone()


class OtherMethod(Method):
    """A method without logits of labeled images."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def loss(self, batch):
        value = F.cross_entropy(self.network(batch.labeled.images), batch.labeled.wanted)
        return StepOutput({"loss": Term(value)})

    def predictors(self):
        return {"": self.network}


@dataclass(frozen=True, kw_only=True)
class Other:
    """Its spec."""

    def build(self, builder):
        return OtherMethod(builder.network())


@dataclass(frozen=True, kw_only=True)
class Offset:
    """Cross-entropy plus a parameter, whose gradient is 1, with a learning rate of its own."""

    lr: float

    def build(self, sizes):
        return OffsetLoss(self.lr)


class OffsetLoss(nn.Module):
    def __init__(self, lr):
        super().__init__()
        self.lr = lr
        self.offset = nn.Parameter(torch.zeros(()))

    def forward(self, logits, labels):
        return F.cross_entropy(logits, labels) + self.offset

    def parameter_groups(self):
        return [{"params": [self.offset], "lr": self.lr}]


class Shades:
    """A generator of images of digits' size: three numbers are their color."""

    z_size, num_classes, image = 3, 10, (3, 8, 8)

    def __call__(self, z, labels):
        return torch.tanh(z[:, :, None, None].expand(-1, -1, 8, 8))
