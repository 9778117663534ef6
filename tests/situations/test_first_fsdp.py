"""FullyShardedDataParallel, the first of the two, which keeps parameters flat."""

import pytest
import torch
import torch.distributed as dist
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.testing import assert_close

from semaug.features import attach, with_features
from semaug.losses import ISDALoss
from tests.features.networks import NUM_CLASSES, NUM_FEATURES, small_batch, small_network

IMAGES, LABELS = small_batch()


@pytest.fixture(scope="module", autouse=True)
def process_group(tmp_path_factory):
    store = tmp_path_factory.mktemp("store") / "store"
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def isda_loss():
    return ISDALoss(NUM_CLASSES, NUM_FEATURES, strength=5.0)


def sharded(module):
    return FullyShardedDataParallel(module, device_id=torch.device("cpu"), use_orig_params=True)


@pytest.mark.filterwarnings("ignore")
def test_a_wrapped_model_is_refused_by_name():
    for reach in (with_features, lambda m: attach(m, isda_loss())):
        with pytest.raises(
            ValueError, match=r"wrapped by FullyShardedDataParallel, .* fully_shard"
        ):
            reach(sharded(small_network()))


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_was_attached_before_trains_as_usual():
    model, plain = small_network(), small_network()
    criterion, reference = attach(model, isda_loss()), attach(plain, isda_loss())
    wrapped = sharded(model)
    loss = criterion(wrapped(IMAGES), LABELS)
    expected = reference(plain(IMAGES), LABELS)
    loss.backward()
    expected.backward()
    assert_close(loss, expected)
    grads = [p.grad.flatten() for p in wrapped.parameters()]
    assert_close(torch.cat(grads), torch.cat([p.grad.flatten() for p in plain.parameters()]))


def test_a_weight_that_was_freed_after_the_forward_is_named():
    model = small_network()
    criterion = attach(model, isda_loss())
    logits = model(IMAGES)
    model[5].weight.data.untyped_storage().resize_(0)  # as a nested wrapper does
    with pytest.raises(RuntimeError, match=r"attach: expected the weight .* found it sharded by"):
        criterion(logits, LABELS)
