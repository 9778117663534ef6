"""One training step of a two-stage detector, anchor by anchor and box by box.

Settings are those of configs/_base_/models of MMDetection 3.3, written out again. Networks are the
detector's own; draws are made in the order of images, anchors first, then stage after stage,
positive boxes before background, and only where there are more boxes than wanted.
"""

import math

import torch
import torch.nn.functional as F
from torchvision.ops import roi_align

STRIDES = (4, 8, 16, 32, 64)
STDS = (0.1, 0.1, 0.2, 0.2)


def absolute(x):
    return x.abs()


def smooth(beta):
    return lambda x: 0.5 * x * x / beta if x.abs() < beta else x.abs() - 0.5 * beta


def stage(iou=0.5, low=None, stds=STDS, loss=absolute, weight=1.0, agnostic=False):
    return {
        "iou": iou, "low": low, "stds": stds, "loss": loss, "weight": weight, "agnostic": agnostic
    }  # fmt: skip


SETTINGS = {
    "faster_rcnn": {"border": False, "loss": absolute, "kept": 1000, "stages": [stage()]},
    "mask_rcnn": {"border": False, "loss": absolute, "kept": 1000, "stages": [stage(low=0.5)]},
    "cascade_rcnn": {
        "border": True,
        "loss": smooth(1 / 9),
        "kept": 2000,
        "stages": [
            stage(0.5, None, STDS, smooth(1.0), 1.0, True),
            stage(0.6, None, (0.05, 0.05, 0.1, 0.1), smooth(1.0), 0.5, True),
            stage(0.7, None, (0.033, 0.033, 0.067, 0.067), smooth(1.0), 0.25, True),
        ],
    },
}


def iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return both / (areas - both) if both else 0.0


def match(boxes, objects, positive, negative, low):
    """The number of an object, -1 for background, -2 for neither, as MaxIoUAssigner finds them."""
    overlaps = [[iou(one, box) for box in boxes] for one in objects]
    found = []
    for i in range(len(boxes)):
        column = [row[i] for row in overlaps]
        best = max(column, default=0.0)
        found.append(-1 if best < negative else -2)
        if best >= positive:
            found[-1] = column.index(best)
    if low is not None:
        for number, row in enumerate(overlaps):
            for i, overlap in enumerate(row):
                if overlap == max(row) and overlap >= low:
                    found[i] = number
    return found


def sample(matches, number, fraction, generator):
    def some(places, wanted):
        if len(places) <= wanted:
            return places
        order = torch.randperm(len(places), generator=generator).tolist()
        return [places[i] for i in order[:wanted]]

    positive = some([i for i, m in enumerate(matches) if m >= 0], int(number * fraction))
    return positive, some([i for i, m in enumerate(matches) if m == -1], number - len(positive))


def encode(box, reference, stds):
    w, h = reference[2] - reference[0], reference[3] - reference[1]
    return [
        ((box[0] + box[2]) / 2 - (reference[0] + reference[2]) / 2) / w / stds[0],
        ((box[1] + box[3]) / 2 - (reference[1] + reference[3]) / 2) / h / stds[1],
        math.log((box[2] - box[0]) / w) / stds[2],
        math.log((box[3] - box[1]) / h) / stds[3],
    ]


def decode(deltas, reference, stds, size):
    dx, dy, dw, dh = (d * s for d, s in zip(deltas.tolist(), stds, strict=True))
    w, h = reference[2] - reference[0], reference[3] - reference[1]
    x, y = (reference[0] + reference[2]) / 2 + dx * w, (reference[1] + reference[3]) / 2 + dy * h
    most = math.log(1000 / 16)
    w, h = w * math.exp(max(-most, min(dw, most))), h * math.exp(max(-most, min(dh, most)))
    corners = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
    return [min(max(c, 0.0), float(size[1 - k % 2])) for k, c in enumerate(corners)]


def suppressed(boxes, scores, threshold):
    """Places of boxes that overlap no better one by more than the threshold, best first."""
    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if all(iou(boxes[i], boxes[j]) <= threshold for j in kept):
            kept.append(i)
    return kept


def anchors_of(maps, scale, ratios):
    """(level, row, column, number in the cell, box) of all anchors."""
    found = []
    for level, (stride, one) in enumerate(zip(STRIDES, maps, strict=True)):
        for row in range(one.shape[2]):
            for column in range(one.shape[3]):
                for k, ratio in enumerate(ratios):
                    w, h = scale * stride / math.sqrt(ratio), scale * stride * math.sqrt(ratio)
                    x, y = column * stride, row * stride
                    box = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
                    found.append((level, row, column, k, box))
    return found


def pooled(maps, image, box, side):
    area = (box[2] - box[0]) * (box[3] - box[1])
    level = min(max(math.floor(math.log2(math.sqrt(area) / 56 + 1e-6)), 0), 3)
    region = torch.tensor([[0.0, *box]], dtype=maps[level].dtype)
    one = maps[level][image : image + 1]
    return roi_align(one, region, side, 1 / STRIDES[level], sampling_ratio=0, aligned=True)[0]


def step_by_loops(
    detector, name, images, sizes, targets, generator, *, scale, ratios, anchors, regions
):
    """The losses of one step; `anchors` and `regions` are numbers to sample of an image."""
    settings = SETTINGS[name]
    maps = detector.fpn({str(i): one for i, one in enumerate(detector.backbone(images))})
    maps = list(maps.values())
    head = detector.rpn.head
    hidden = [F.relu(head.conv[0][0](one)) for one in maps]
    logits, deltas = [head.cls_logits(x) for x in hidden], [head.bbox_pred(x) for x in hidden]
    everything = anchors_of(maps, scale, ratios)
    losses = {"rpn_objectness": 0.0, "rpn_box": 0.0}
    count, proposals = 0, []
    for i, (size, target) in enumerate(zip(sizes, targets, strict=True)):
        objects = target.boxes.tolist()
        scores = [logits[a[0]][i, a[3], a[1], a[2]] for a in everything]
        moves = [deltas[a[0]][i, 4 * a[3] : 4 * a[3] + 4, a[1], a[2]] for a in everything]
        # proposals
        boxes, values, levels = [], [], []
        for level in range(5):
            own = [k for k, a in enumerate(everything) if a[0] == level]
            for k in sorted(own, key=lambda k: -scores[k].item())[:2000]:
                box = decode(moves[k], everything[k][4], (1, 1, 1, 1), size)
                if box[2] > box[0] and box[3] > box[1]:
                    boxes.append(box)
                    values.append(scores[k].item())
                    levels.append(level)
        kept = []
        for level in range(5):
            own = [k for k, one in enumerate(levels) if one == level]
            best = suppressed([boxes[k] for k in own], [values[k] for k in own], 0.7)
            kept += [own[k] for k in best]
        kept = sorted(kept, key=lambda k: -values[k])[: settings["kept"]]
        proposals.append([boxes[k] for k in kept])
        # losses
        usable = []
        for k, (level, row, column, _, box) in enumerate(everything):
            height, width = (math.ceil(side / 32) * 32 for side in size)
            if row * STRIDES[level] >= height or column * STRIDES[level] >= width:
                continue
            inside = min(box[:2]) >= 0 and box[2] < size[1] and box[3] < size[0]
            if inside or not settings["border"]:
                usable.append(k)
        matches = match([everything[k][4] for k in usable], objects, 0.7, 0.3, 0.3)
        positive, negative = sample(matches, anchors, 0.5, generator)
        count += len(positive) + len(negative)
        for place in positive:
            k = usable[place]
            losses["rpn_objectness"] -= F.logsigmoid(scores[k])
            wanted = encode(objects[matches[place]], everything[k][4], (1, 1, 1, 1))
            losses["rpn_box"] += sum(
                settings["loss"](a - b) for a, b in zip(moves[k], wanted, strict=True)
            )
        for place in negative:
            losses["rpn_objectness"] -= F.logsigmoid(-scores[usable[place]])
    losses = {key: total / count for key, total in losses.items()}
    for s, (of, box_head) in enumerate(zip(settings["stages"], detector.box_heads, strict=True)):
        prefix = f"stage{s}_" if len(settings["stages"]) > 1 else ""
        class_loss, box_loss, count, refined, positives = 0.0, 0.0, 0, [], []
        for i, (size, target) in enumerate(zip(sizes, targets, strict=True)):
            objects, labels = target.boxes.tolist(), target.labels.tolist()
            matches = list(range(len(objects)))
            matches += match(proposals[i], objects, of["iou"], of["iou"], of["low"])
            boxes = objects + proposals[i]
            positive, negative = sample(matches, regions, 0.25, generator)
            refined.append([])
            count += len(positive) + len(negative)
            for k in positive + negative:
                x = pooled(maps, i, boxes[k], 7).flatten()
                x = F.relu(F.linear(x, box_head.fc6.weight, box_head.fc6.bias))
                x = F.relu(F.linear(x, box_head.fc7.weight, box_head.fc7.bias))
                values = F.linear(x, box_head.cls_score.weight, box_head.cls_score.bias)
                moves = F.linear(x, box_head.bbox_pred.weight, box_head.bbox_pred.bias)
                label = labels[matches[k]] if k in positive else detector.num_classes
                class_loss += values.logsumexp(dim=0) - values[label]
                if k in positive:
                    positives.append((i, boxes[k], matches[k]))
                    first = 0 if of["agnostic"] else 4 * label
                    wanted = encode(objects[matches[k]], boxes[k], of["stds"])
                    box_loss += sum(
                        of["loss"](a - b)
                        for a, b in zip(moves[first : first + 4], wanted, strict=True)
                    )
                if k >= len(objects) and of["agnostic"]:
                    refined[-1].append(decode(moves, boxes[k], of["stds"], size))
        losses[f"{prefix}class"] = of["weight"] * class_loss / count
        losses[f"{prefix}box"] = of["weight"] * box_loss / count
        proposals = refined
    if name == "mask_rcnn":
        total, pixels = 0.0, 0
        for i, box, number in positives:
            x = detector.mask_head.convs(pooled(maps, i, box, 14)[None])
            values = detector.mask_head.predictor(x)[0, targets[i].labels[number]]
            mask = targets[i].masks[number].to(values)[None, None]
            region = torch.tensor([[0.0, *box]], dtype=values.dtype)
            wanted = roi_align(mask, region, 28, 1.0, 0, aligned=True)[0, 0] >= 0.5
            total -= F.logsigmoid(torch.where(wanted, values, -values)).sum()
            pixels += 28 * 28
        losses["mask"] = total / pixels
    return losses
