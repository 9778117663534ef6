"""The model card of an exported network: Markdown for people who have the folder alone."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import timm

from semaug.runs.read import is_untested, measure_of
from semaug.runs.statistics import with_spread
from semaug.runs.words import counted

_MOST_CLASSES = 20  # that are named; model.json has all

_READS = {  # what reads weights: its import, and the call
    "safetensors": ("from safetensors.torch import load_file", 'load_file("{}")'),
    "state_dict": ("import torch", 'torch.load("{}", weights_only=True)'),
}


def write_card(about: Mapping[str, Any]) -> str:
    """Return the card of an export.

    Args:
        about: What its ``model.json`` holds.
    """
    title = f"# {about['network']['name']}, trained on {about['data']}"
    sections = (title, _what(about), _data(about), _result(about), _loading(about), _LIMITS)
    return "\n\n".join(sections) + "\n"


def _what(about: Mapping[str, Any]) -> str:
    run, recipe = about["run"], about["run"]["recipe"]
    method = f"method {recipe['method']['name']}, loss {recipe['loss']['name']}"
    weights = "of the last epoch"
    if about["averaged"]:
        weights = f"the moving average (`ema_decay={recipe['ema_decay']}`) that the run tested"
    which = f", predictor `{about['predictor']}`" if about["predictor"] else ""
    given = about["network"]["options"]
    source = given.get("weights") or ("timm" if given.get("pretrained") else None)
    start = f" The run began with the pretrained weights of `{source}`." if source else ""
    return (
        f"A network that classifies images into {len(about['classes'])} classes, trained by semaug "
        f"{about['semaug']}: run `{about['label']}` with seed {run['seed']}{which} ({method}, "
        f"{counted(run['epochs'], 'epoch')}). The weights are {weights}.{start} `model.json` holds "
        "the whole recipe."
    )


def _data(about: Mapping[str, Any]) -> str:
    named = ", ".join(f"`{name}`" for name in about["classes"][:_MOST_CLASSES])
    more = len(about["classes"]) - _MOST_CLASSES
    rest = f" and {more} more, in `model.json`" if more > 0 else ""
    return (
        f"## Data\n\n{about['train_images']:,} training images of `{about['data']}`. Classes, in "
        f"the order of the logits: {named}{rest}."
    )


def _result(about: Mapping[str, Any]) -> str:
    run, measure = about["run"], measure_of(about["run"])
    trained_on = f"Trained on {run['device']}."
    if is_untested(run):
        return f"## Result\n\n{_expected(about)}\n\n{trained_on}"
    images = "held-out training images" if run["test_on"] == "hold_out" else "test images"
    rows = []
    for name, reports in about["results"].items():
        own = replace(measure, name=name, unit=about["units"].get(name, ""))
        better = f", {own.better} is better" if name == measure.name else ""
        rows.append(f"- {name}: {own.text(reports['last'])}{better}")
    listed = "\n".join(rows) or "- not measured"
    return (
        f"## Result\n\nOf these weights on the {images} of the run, a single run:\n\n{listed}\n\n"
        f"{trained_on}"
    )


def _expected(about: Mapping[str, Any]) -> str:
    """Say what is known of a network that was trained on all images."""
    own = "This network was trained on all images that there were, and is not tested."
    if (found := about["cross_validated"]) is None:
        return own
    measure, values = measure_of(found), found["values"]
    result = f"{with_spread(values, measure.digits)} {measure.unit}".rstrip()
    return (
        f"{own} Its recipe was cross-validated on the same {found['train_images']:,} images, with "
        f"{counted(len(values), 'run')} in {found['folds']} folds: other networks, each trained "
        f"on all folds but the one that tested it.\n\n- cross-validated {measure.name}: {result}, "
        f"{measure.better} is better"
    )


def _loading(about: Mapping[str, Any]) -> str:
    channels, height, width = about["image"]
    lines = [
        "## How to load",
        "\n".join(["```python", *_code(about), "```"]),
        f"`images` are floating-point numbers `(N, {channels}, {height}, {width})`.",
    ]
    if about["mean"] and about["std"]:
        lines[-1] += (
            f" They are RGB from 0 to 1, minus the mean `{about['mean']}`, divided by the standard "
            f"deviation `{about['std']}`."
        )
    if view := about["view"]:
        rows, columns = (view.get(side, view.get("size")) for side in ("height", "width"))
        lines[-1] += (
            " Photographs are first turned upright, as their EXIF says, resized (bilinear, "
            f"antialiased) so that the shorter side has {view['resize']} pixels, and cropped to "
            f"the middle {rows} x {columns}."
            if "resize" in view
            else f" Photographs must have {rows} x {columns} pixels."
        )
        if (height, width) != (rows, columns):
            lines[-1] += f" At last they are resized (bilinear, antialiased) to {height} x {width}."
    if about["cannot_predict"]:
        reason = about["cannot_predict"]
        lines.append(f"`semaug predict` cannot use this folder alone, for {reason}.")
    else:
        lines.append(
            "`semaug predict FOLDER photo.jpg` prepares photographs in this way and prints their "
            'classes; so does `semaug.load("FOLDER").predict("photo.jpg").top(5)` in Python.'
        )
    return "\n\n".join(lines)


def _code(about: Mapping[str, Any]) -> Iterator[str]:
    to, file, network = about["to"], about["file"], about["network"]
    if to == "onnx":
        yield "import onnxruntime"
        yield f'session = onnxruntime.InferenceSession("{file}")'
        yield 'logits = session.run(["logits"], {"images": images})[0]  # NumPy, float32'
    elif to == "torch_export":
        yield "import torch  # executes what the file holds: trust who wrote it"
        yield f'network = torch.export.load("{file}").module()'
        yield "logits = network(images)"
    else:
        own = "arguments" not in network
        given = network["options" if own else "arguments"].items()
        arguments = "".join(f", {option}={value!r}" for option, value in given)
        yield "from semaug.registry import Sizes, networks" if own else "import timm"
        if not own and timm.model_entrypoint(network["name"]).__module__.startswith("semaug."):
            yield f"import semaug.networks  # registers {network['name']}"
        yield _READS[to][0]
        yield ""
        if own:
            sizes = f"num_classes={len(about['classes'])}, image={tuple(about['image'])}"
            yield f"spec = networks.make({network['name']!r}{arguments})  # your own code"
            yield f"network = spec.build(Sizes({sizes}))"
        else:
            yield f"network = timm.create_model({network['name']!r}{arguments})"
        yield f"network.load_state_dict({_READS[to][1].format(file)})"
        yield "logits = network.eval()(images)"


_LIMITS = """## Limits

The network answers every image with one of its classes, also one that shows none of them, and its
probabilities are not calibrated. A result holds for images like those it was trained on; on others
it may be worse.

## License

The license of these weights is unknown: it depends on the training images, and on the weights that
the run began with, if any. State it before you pass them on."""
