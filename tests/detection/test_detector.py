"""Tests of semaug.detection.detector: what holds for all detectors, and what for a cascade."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from semaug.detection.backbone import backbone_of
from semaug.detection.boxes import Target
from semaug.detection.roi import paste_masks
from semaug.registry import detectors
from tests.detection.toys import ToyBackbone, rectangles, toy_detector

NAMES = ("faster_rcnn", "mask_rcnn", "cascade_rcnn")
SIZES = [(64, 64), (64, 50)]
NONE = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 64, 64).bool())


@pytest.fixture
def batch():
    """Two images, the second one padded, and their targets."""
    generator = torch.Generator().manual_seed(0)
    images, targets = torch.zeros(2, 3, 64, 64), []
    for image, size in zip(images, SIZES, strict=True):
        picture, target = rectangles(generator, size)
        image[:, :, : size[1]] = picture
        targets.append(target)
    return images, targets


def seeded():
    return torch.Generator().manual_seed(5)


def test_all_are_registered_and_say_whether_they_find_masks():
    assert detectors.names() == NAMES
    assert [detectors.get(name).masks for name in NAMES] == [False, True, False]
    with pytest.raises(ValueError, match="unknown option 'preset'"):
        detectors.make("cascade_rcnn", preset="torchvision")


@pytest.mark.parametrize(
    ("option", "value", "wanted"),
    [
        ("width", 0, ">= 1"),
        ("anchor_scales", (), "positive numbers"),
        ("frozen_stages", 5, "0 to 4"),
        ("score_threshold", 1.5, "from 0 to 1"),
    ],
)
def test_options_out_of_range_are_refused(option, value, wanted):
    with pytest.raises(ValueError, match=f"expected `{option}` {wanted}"):
        detectors.make("faster_rcnn", **{option: value})


@pytest.mark.parametrize("name", NAMES)
def test_draws_come_from_the_generator_alone(name, batch):
    detector = toy_detector(name)
    first = detector(batch[0], SIZES, batch[1], seeded())
    torch.manual_seed(99)
    again = detector(batch[0], SIZES, batch[1], seeded())
    other = detector(batch[0], SIZES, batch[1], torch.Generator().manual_seed(6))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_draws_of_an_image_with_its_own_generator_do_not_depend_on_others(batch, monkeypatch):
    monkeypatch.setattr("semaug.detection.rpn._SAMPLED", 10)
    detector = toy_detector("faster_rcnn").eval()  # an image alone is as in a batch
    detector.training = detector.rpn.training = True

    def losses(places):
        draws = [torch.Generator().manual_seed(place) for place in places]
        own = [[of[place] for place in places] for of in (SIZES, batch[1])]
        return detector(batch[0][places], *own, draws)["rpn_objectness"]

    alone = losses([0]), losses([1])
    assert alone[0] != alone[1]
    assert_close(losses([0, 1]), sum(alone) / 2)


@pytest.mark.parametrize("name", NAMES)
def test_an_image_without_objects_trains_with_all_parameters_in_the_graph(name, batch):
    detector = toy_detector(name, frozen_stages=0)
    losses = detector(batch[0][:1], SIZES[:1], [NONE], seeded())
    zero = [key for key in losses if key.endswith("box") or key == "mask"]
    assert all(losses[key] == 0 for key in zero)
    assert all(losses[key] > 0 for key in losses.keys() - set(zero))
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in detector.parameters())


def test_rpn_losses_are_divided_by_all_sampled_anchors(batch, monkeypatch):
    monkeypatch.setattr("semaug.detection.rpn._SAMPLED", 10)
    detector = toy_detector()
    for parameter in detector.rpn.head.parameters():
        torch.nn.init.zeros_(parameter)
    losses = detector(batch[0], SIZES, [batch[1][0], NONE], seeded())
    # every logit is 0, thus every of the 20 anchors costs log 2
    assert_close(losses["rpn_objectness"], torch.tensor(2.0).log())
    torch.nn.init.constant_(detector.rpn.head.bbox_pred.bias, 100.0)
    more = detector(batch[0], SIZES, [batch[1][0], NONE], seeded())
    torch.nn.init.constant_(detector.rpn.head.bbox_pred.bias, 101.0)
    most = detector(batch[0], SIZES, [batch[1][0], NONE], seeded())
    positive = (most["rpn_box"] - more["rpn_box"]) / 4 * 20  # each costs 4 more
    assert_close(positive, positive.round(), atol=1e-3, rtol=0)
    assert 1 <= positive <= 5


def test_crowds_are_ignored(batch):
    images, targets = batch
    detector = toy_detector()
    crowd = torch.tensor([[0.0, 0.0, 60.0, 60.0]])
    with_crowd = [Target(x.boxes, x.labels, x.masks, crowd) for x in targets]
    one, other = (detector(images, SIZES, x, seeded()) for x in (targets, with_crowd))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_boxes_are_clipped_to_the_image_and_not_to_its_padding(batch):
    detector = toy_detector().eval()
    for one, (height, width) in zip(detector(batch[0], SIZES), SIZES, strict=True):
        largest = one.boxes[:, 2:].max(dim=0).values
        assert_close(largest, torch.tensor([float(width), float(height)]), atol=0.01, rtol=0)
        assert (largest <= torch.tensor([width, height])).all()


def test_detections_are_those_of_the_documented_form(batch):
    detector = toy_detector("mask_rcnn", score_threshold=0.1, max_detections=7).eval()
    for one, size in zip(detector(batch[0], SIZES), SIZES, strict=True):
        assert one.boxes.shape == (7, 4)
        assert (one.scores.diff() <= 0).all()
        assert (one.scores > 0.1).all()
        assert one.labels.dtype == torch.int64
        assert one.labels.max() < 2
        assert one.masks.shape == (7, *size)
        assert one.masks.dtype == torch.bool
        assert not one.boxes.requires_grad
    detector.score_threshold = 0.99
    for one in detector(batch[0], SIZES):
        assert (one.boxes.shape, one.masks.shape[0]) == ((0, 4), 0)


def test_detections_in_pixels_of_the_original_images(batch):
    detector = toy_detector("mask_rcnn", max_detections=5).eval()
    plain = detector(batch[0], SIZES)
    scaled = detector(batch[0], SIZES, original_sizes=[(128, 32), (64, 50)])
    assert_close(scaled[0].boxes, plain[0].boxes * torch.tensor([0.5, 2, 0.5, 2]))
    assert scaled[0].masks.shape == (5, 128, 32)
    assert torch.equal(scaled[1].masks, plain[1].masks)


def test_logits_of_the_stages_of_a_cascade_are_averaged(batch):
    detector = toy_detector("cascade_rcnn", score_threshold=0.0).eval()
    logits = torch.tensor([[2.0, 0.0, 1.0], [0.0, 3.0, -1.0], [1.0, 1.0, 1.0]])
    for head, bias in zip(detector.box_heads, logits, strict=True):
        torch.nn.init.zeros_(head.cls_score.weight)
        head.cls_score.bias.data.copy_(bias)
    wanted = logits.mean(dim=0).softmax(dim=0)
    found = detector(batch[0], SIZES)[0]
    assert_close(found.scores, wanted[found.labels])
    assert set(found.labels.tolist()) == {1}  # the 100 best are of the likelier class


def test_boxes_of_a_cascade_are_refined_from_stage_to_stage(batch):
    detector = toy_detector("cascade_rcnn", score_threshold=0.0).eval()
    seen, shifts = [], (0.25, 0.1, -0.2)  # in widths
    for head, shift, std in zip(detector.box_heads, shifts, (0.1, 0.05, 0.033), strict=True):
        torch.nn.init.zeros_(head.bbox_pred.weight)
        head.bbox_pred.bias.data.copy_(torch.tensor([shift / std, 0, 0, 0]))
        head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[1][1]))
    found = detector(batch[0], SIZES)[1].boxes
    for before, after, shift in zip(seen, [*seen[1:], found], shifts, strict=True):
        moved = before.clone()
        moved[:, 0::2] += shift * (before[:, 2] - before[:, 0])[:, None]
        moved = moved.clamp(min=0).minimum(torch.tensor([50.0, 64.0, 50.0, 64.0]))
        nearest = torch.cdist(after, moved, p=1).amin(dim=1)
        assert_close(nearest, torch.zeros_like(nearest), atol=1e-3, rtol=0)


def test_no_gradient_passes_from_a_stage_of_a_cascade_to_the_one_before(batch):
    detector = toy_detector("cascade_rcnn")
    losses = detector(batch[0], SIZES, batch[1], seeded())
    (losses["stage2_class"] + losses["stage2_box"]).backward()
    for head in detector.box_heads[:2]:
        assert all(parameter.grad is None for parameter in head.parameters())
    assert all(parameter.grad is None for parameter in detector.rpn.head.parameters())
    assert detector.box_heads[2].fc6.weight.grad.abs().sum() > 0
    assert detector.fpn.inner_blocks[0][0].weight.grad.abs().sum() > 0


def test_boxes_of_objects_do_not_enter_the_next_stage(batch, monkeypatch):
    seen = []
    detector = toy_detector("cascade_rcnn")
    for head in detector.box_heads:
        torch.nn.init.zeros_(head.bbox_pred.weight)
        head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[1][0]))
    detector(batch[0], SIZES, batch[1], seeded())
    for boxes in seen:  # each object is sampled once in each stage: they all are positive
        found = [(boxes == box).all(dim=1).sum().item() for box in batch[1][0].boxes]
        assert found == [1, 1]


def test_first_stages_and_running_statistics_stay(batch):
    detector = toy_detector(frozen_stages=2)
    before = copy.deepcopy(detector.state_dict())
    losses = detector(batch[0], SIZES, batch[1], seeded())
    sum(losses.values()).backward()
    frozen = {name for name, x in detector.named_parameters() if not x.requires_grad}
    parts = ("backbone.stem", "backbone.layers.0", "backbone.layers.1")
    assert frozen == {name for name, _ in detector.named_parameters() if name.startswith(parts)}
    assert detector.backbone.layers[2][1].weight.grad.abs().sum() > 0
    for name, tensor in detector.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert not detector.backbone.layers[3][1].training
    assert detector.rpn.training


def test_running_statistics_move_without_norm_eval_but_not_in_frozen_stages(batch):
    detector = toy_detector(norm_eval=False)
    before = copy.deepcopy(detector.state_dict())
    detector(batch[0], SIZES, batch[1], seeded())
    moved = {
        name
        for name, x in detector.state_dict().items()
        if "mean" in name and (x != before[name]).any()
    }
    assert moved == {f"backbone.layers.{i}.1.running_mean" for i in (1, 2, 3)}
    detector.eval().train()
    assert [layer[1].training for layer in detector.backbone.layers] == [False, True, True, True]


def test_torchvision_trains_no_scales_of_batch_norms():
    detector = toy_detector(preset="torchvision", frozen_stages=0)
    frozen = {name for name, x in detector.named_parameters() if not x.requires_grad}
    assert frozen == {f"backbone.layers.{i}.1.{x}" for i in range(4) for x in ("weight", "bias")}


def test_initial_weights_are_those_of_mmdetection():
    detector = toy_detector("mask_rcnn", width=64, head_width=64)
    head = detector.box_heads[0]
    assert_close(head.cls_score.weight.std().item(), 0.01, rtol=0.2, atol=0)
    assert_close(head.bbox_pred.weight.std().item(), 0.001, rtol=0.2, atol=0)
    bound = (6 / (64 * 49 + 64)) ** 0.5
    assert 0.99 * bound < head.fc6.weight.abs().max() <= bound
    lateral = detector.fpn.inner_blocks[0][0].weight  # 1 x 1 convolution of 8 to 64 channels
    assert 0.95 * (6 / 72) ** 0.5 < lateral.abs().max() <= (6 / 72) ** 0.5
    biases = [
        x for name, x in detector.named_parameters() if "backbone" not in name and "bias" in name
    ]
    assert not any(bias.any() for bias in biases)
    assert_close(detector.rpn.head.bbox_pred.weight.std().item(), 0.01, rtol=0.2, atol=0)
    mask = detector.mask_head.convs[0][0].weight
    assert_close(mask.std().item(), (2 / (9 * 64)) ** 0.5, rtol=0.1, atol=0)


def test_masks_are_pasted_at_the_centers_of_pixels():
    generator = torch.Generator().manual_seed(0)
    probs = torch.rand(6, 28, 28, generator=generator)
    low = torch.rand(6, 2, generator=generator) * 20
    boxes = torch.cat([low, low + torch.rand(6, 2, generator=generator) * 25 + 1], dim=1)
    found = paste_masks(probs, boxes, (40, 44), whole=False)
    y, x = (torch.arange(n) + 0.5 for n in (40, 44))
    for prob, box, mask in zip(probs, boxes, found, strict=True):
        u = (x - box[0]) / (box[2] - box[0]) * 2 - 1
        v = (y - box[1]) / (box[3] - box[1]) * 2 - 1
        at = torch.stack([u.expand(40, 44), v[:, None].expand(40, 44)], dim=-1)
        wanted = F.grid_sample(prob[None, None], at[None], align_corners=False)[0, 0] > 0.5
        assert (mask != wanted).sum() <= 1  # rounding
    full = paste_masks(
        torch.ones(1, 28, 28), torch.tensor([[3.0, 5.0, 9.0, 8.0]]), (10, 12), whole=False
    )
    assert full.sum() == 6 * 3
    assert full[0, 5:8, 3:9].all()


def test_half_precision_under_autocast_gives_float32_losses(batch):
    detector = toy_detector("mask_rcnn")
    exact = detector(batch[0], SIZES, batch[1], seeded())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = detector(batch[0], SIZES, batch[1], seeded())
        assert detector.eval()(batch[0], SIZES)[0].boxes.dtype == torch.float32
    for name, loss in found.items():
        assert loss.dtype == torch.float32
        assert_close(loss, exact[name], rtol=0.1, atol=0.02)


def test_wrong_inputs_are_named(batch):
    images, targets = batch
    detector = toy_detector("mask_rcnn")

    def with_first(**changes):
        first = {"boxes": targets[0].boxes, "labels": targets[0].labels, "masks": targets[0].masks}
        return [Target(**{**first, **changes}), targets[1]]

    flat = targets[0].boxes.clone()
    flat[1, 2] = flat[1, 0]
    cases = [
        (with_first(boxes=flat), r"x1 < x2 and y1 < y2, got \[.*\] in target 0"),
        (with_first(labels=targets[0].labels + 2), r"`labels` in 0..1, got values in"),
        (with_first(labels=targets[0].labels[:1]), r"`labels` of shape \(N=2,\), got \(1,\)"),
        (with_first(masks=None), "expected masks in target 0, got none"),
        (with_first(masks=targets[0].masks[:, :9]), r"`masks` of shape \(N=2, 64, 64\), got"),
        (targets[:1], "expected 2 `targets`, got 1"),
    ]
    for wrong, message in cases:
        with pytest.raises(ValueError, match=message):
            detector(images, SIZES, wrong)
    with pytest.raises(TypeError, match=r"`labels` of dtype torch.int64"):
        detector(images, SIZES, with_first(labels=targets[0].labels.float()))
    with pytest.raises(RuntimeError, match="expected `targets` in training mode"):
        detector(images, SIZES)
    for wrong, sizes in ((images[..., :60], SIZES), (images, SIZES[:1]), (images, [(64, 65)] * 2)):
        with pytest.raises(ValueError, match="`images` of multiples of 32, and `sizes`"):
            detector(wrong, sizes, targets)
    backbone = ToyBackbone()
    backbone.feature_info.info[0]["reduction"] = 2
    with pytest.raises(ValueError, match=r"strides \(4, 8, 16, 32\), got \(2, 8, 16, 32\)"):
        detectors.make("faster_rcnn").build(backbone, 2)


@pytest.mark.parametrize(
    ("name", "millions"), [("faster_rcnn", 41.53), ("mask_rcnn", 44.17), ("cascade_rcnn", 69.17)]
)
def test_parameters_on_a_resnet50_are_those_of_mmdetection(name, millions):
    with torch.device("meta"):
        detector = detectors.make(name).build(backbone_of("resnet50")[0], 80)
    trained = sum(x.numel() for x in detector.parameters() if x.requires_grad)
    assert_close(trained / 1e6, millions, atol=0.006, rtol=0)


@pytest.mark.parametrize("name", ["mask_rcnn", "cascade_rcnn"])
def test_losses_under_autocast_are_near_those_of_float32(name):
    generator = torch.Generator().manual_seed(0)
    images, targets = zip(*[rectangles(generator) for _ in range(2)], strict=True)
    found = []
    for enabled in (False, True):
        detector = toy_detector(name)
        kinds = []
        detector.rpn.head.conv.register_forward_hook(lambda *x, to=kinds: to.append(x[2].dtype))
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            draws = torch.Generator().manual_seed(1)
            losses = detector(torch.stack(images), [(64, 64)] * 2, list(targets), draws)
        assert set(kinds) == {torch.bfloat16 if enabled else torch.float32}
        assert all(loss.dtype == torch.float32 for loss in losses.values())
        sum(losses.values()).backward()
        trained = [one for one in detector.parameters() if one.requires_grad]
        assert all(one.grad.isfinite().all() for one in trained)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled), torch.no_grad():
            answers = detector.eval()(torch.stack(images), [(64, 64)] * 2)
        assert all(one.boxes.dtype == one.scores.dtype == torch.float32 for one in answers)
        found.append(losses)
    assert_close(found[1], found[0], rtol=0.05, atol=0.01)
