"""Small random models, random order of forwards: the loss is the literal one, or it raises.

What the model computed is read off autograd: the classifier's weight is the Jacobian of the
logits with respect to its input, whatever made it. By hand, with more examples:

    SEMAUG_FUZZ=20000 python -m pytest -n 0 tests/situations/test_fuzz_of_attach.py
"""

import os

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from semaug.features import attach
from semaug.losses import ISDALoss
from tests.references.isda import covariance_by_loops, isda_loss_by_loops

NUM_CLASSES, NUM_FEATURES, NUM_IMAGES = 3, 4, 5
NUM_EXAMPLES = int(os.environ.get("SEMAUG_FUZZ", "200"))


class Low(nn.Module):
    """A linear layer and an adapter of low rank, zero at first or not."""

    def __init__(self, base, zero):
        super().__init__()
        self.base, self.low = base, nn.Linear(NUM_FEATURES, NUM_CLASSES, bias=False)
        if zero:
            nn.init.zeros_(self.low.weight)

    def forward(self, features):
        return self.base(features) + self.low(features)


class Scaled(nn.Module):
    def __init__(self, base, scale):
        super().__init__()
        self.base, self.scale = base, nn.Parameter(torch.tensor(scale))

    def forward(self, features):
        return self.base(features) * self.scale


class InPlace(nn.Module):
    def __init__(self, base):
        super().__init__()
        self.base, self.shift = base, nn.Parameter(torch.zeros(NUM_CLASSES))

    def forward(self, features):
        return self.base(features).add_(self.shift)


class Pixel(nn.Module):
    """A 1x1 convolution as classifier."""

    def __init__(self):
        super().__init__()
        self.base = nn.Conv2d(NUM_FEATURES, NUM_CLASSES, 1)

    def forward(self, features):
        return self.base(features[:, :, None, None]).flatten(1)


class Then(nn.Module):
    def __init__(self, base, function):
        super().__init__()
        self.base, self.function = base, function

    def forward(self, features):
        return self.function(self.base(features))


def linear(bias=True):
    return nn.Linear(NUM_FEATURES, NUM_CLASSES, bias=bias)


def frozen(module):
    return module.requires_grad_(False)


# Heads that a loss must take, and heads that it must refuse, with the way to their linear layer.
TAKEN = {
    "plain": linear,
    "no bias": lambda: linear(bias=False),
    "frozen": lambda: frozen(linear()),
    "pixel": Pixel,
    "wrapped": lambda: nn.Sequential(nn.Identity(), nn.Sequential(linear()), nn.Dropout(0.0)),
    "cast": lambda: Then(linear(), lambda logits: logits.double()),
    "reshaped": lambda: Then(linear(), lambda logits: logits.reshape(-1).view(-1, NUM_CLASSES)),
    "copied": lambda: Then(linear(), lambda logits: logits.clone()),
    "weight norm": lambda: parametrizations.weight_norm(linear()),
    "spectral norm": lambda: parametrizations.spectral_norm(linear()),
    "orthogonal": lambda: parametrizations.orthogonal(linear()),
}
REFUSED = {
    "adapter": lambda: Low(linear(), zero=False),
    "adapter of zeros": lambda: Low(linear(), zero=True),
    "temperature": lambda: Scaled(linear(), 2.0),
    "temperature of one": lambda: Scaled(linear(), 1.0),
    "in place": lambda: InPlace(linear()),
    "softmax": lambda: Then(linear(), lambda logits: logits.softmax(1)),
    "relu": lambda: Then(linear(), torch.relu),
    "normalized": lambda: nn.Sequential(linear(), nn.BatchNorm1d(NUM_CLASSES)),
}


class Model(nn.Module):
    """A body, a head, and what the last forward was made of."""

    def __init__(self, head, body, checkpointed, tied):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(6, NUM_FEATURES),
            {"norm": nn.BatchNorm1d, "dropout": lambda _: nn.Dropout(0.5)}[body](NUM_FEATURES),
        )
        self.head = (TAKEN | REFUSED)[head]()
        self.checkpointed = checkpointed
        if tied and head == "plain":
            self.body.append(nn.Linear(NUM_FEATURES, NUM_CLASSES))
            self.body[2].weight = self.head.weight
            self.body.append(nn.Linear(NUM_CLASSES, NUM_FEATURES))

    def forward(self, images):
        features = self.body(images)
        if not self.checkpointed:
            return self.head(features), features
        return checkpoint(self.head, features, use_reentrant=False), features


class Logits(nn.Module):
    """Shows the logits alone, and remembers the features."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        logits, self.features = self.model(images)
        return logits


def linear_layer(head):
    return next(m for m in head.modules() if isinstance(m, nn.Linear | nn.Conv2d))


def jacobian(logits, features):
    """``(C, A)``, differentiable: what the features of an image do to its logits."""
    rows = [
        torch.autograd.grad(logits[0, c], features, create_graph=True, retain_graph=True)[0][0]
        for c in range(NUM_CLASSES)
    ]
    return torch.stack(rows)


forwards = st.lists(
    st.sampled_from(["train", "train", "eval", "functional"]), min_size=1, max_size=4
)
modes = st.sampled_from(["eager"] * 30 + ["compiled"])


@pytest.mark.filterwarnings("ignore:attach. the classifier was in evaluation mode")
@settings(
    max_examples=NUM_EXAMPLES,
    deadline=None,
    derandomize=NUM_EXAMPLES == 200,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(
    head=st.sampled_from([*TAKEN, *REFUSED]),
    body=st.sampled_from(["norm", "dropout"]),
    checkpointed=st.booleans(),
    tied=st.booleans(),
    searched=st.booleans(),
    mode=modes,
    rounds=st.lists(st.tuples(forwards, st.integers(0, 3)), min_size=1, max_size=3),
    seed=st.integers(0, 2**16),
)
def test_the_loss_is_the_literal_one_or_raises(
    head, body, checkpointed, tied, searched, mode, rounds, seed
):
    torch.manual_seed(seed)
    # Spectral norm under a checkpoint is another one in the backward pass, which is torch's affair.
    checkpointed = checkpointed and mode == "eager" and head != "spectral norm"
    model = Logits(Model(head, body, checkpointed, tied))
    isda = ISDALoss(NUM_CLASSES, NUM_FEATURES, strength=2.0)
    counted = []
    images, labels = torch.randn(NUM_IMAGES, 6), torch.randint(NUM_CLASSES, (NUM_IMAGES,))
    layer = linear_layer(model.model.head)
    try:
        if searched:
            criterion = attach(model, isda, example_images=images)
        else:
            criterion = attach(model, isda, layer)
    except ValueError:
        assert head in REFUSED
        return
    forward = model
    if mode == "compiled":
        torch.compiler.reset()
        forward = torch.compile(model, backend="eager")

    for order, chosen in rounds:
        seen = []
        for how in order:
            # A checkpoint computes anew with the module's own parameters, which is torch's affair.
            how = "train" if checkpointed and how == "functional" else how
            model.train(how != "eval")
            moved = images + len(seen)
            if how == "functional":
                parameters = {n: p.detach() * 1.1 for n, p in model.named_parameters()}
                for parameter in parameters.values():
                    parameter.requires_grad_()
                logits = torch.func.functional_call(model, parameters, (moved,))
            else:
                logits = forward(moved)
            seen.append((how, logits, model.features))
        model.train()
        how, logits, features = seen[min(chosen, len(seen) - 1)]
        last = [other for other, _, _ in seen[min(chosen, len(seen) - 1) + 1 :]]
        evaluates = how == "eval"
        if "train" in last or "functional" in last or (evaluates and "eval" in last):
            with pytest.raises((ValueError, RuntimeError)):  # not the latest forward
                criterion(logits, labels)
            continue
        try:
            with torch.no_grad():
                before = {key: value.clone() for key, value in isda.state_dict().items()}
            loss = criterion(logits, labels)
        except (ValueError, RuntimeError):
            assert head in REFUSED
            assert_close(isda.state_dict(), before, rtol=0, atol=0)
            continue
        # A compiled model hides what happens in place; this head changes nothing yet.
        assert head in TAKEN or (head, mode) == ("in place", "compiled")
        if not evaluates:
            counted.append(features.detach().double())
        all_features = torch.cat(counted) if counted else torch.zeros(0, NUM_FEATURES).double()
        all_labels = labels.repeat(len(counted))
        covariance = covariance_by_loops(all_features, all_labels, NUM_CLASSES)[-1]
        assert_close(isda.estimator.covariance.double(), covariance, rtol=1e-4, atol=1e-5)
        weight = jacobian(logits, features)
        literal = isda_loss_by_loops(
            logits.double(), labels, weight.double(), covariance, strength=2.0
        )
        assert_close(loss.double(), literal, rtol=1e-4, atol=1e-5)
        used = parameters.values() if how == "functional" else model.parameters()
        wanted = [parameter for parameter in used if parameter.requires_grad]
        expected = torch.autograd.grad(literal, wanted, retain_graph=True, allow_unused=True)
        got = torch.autograd.grad(loss, wanted, allow_unused=True)
        assert_close(got, expected, rtol=1e-3, atol=1e-4)
