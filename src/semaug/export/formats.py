"""Files that hold a network: how each is written, and how it becomes a function again."""

import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from semaug.errors import UserError, as_user_error, how_to_install

__all__ = ["FORMATS", "Format"]

# N images of C x H x W, K classes.

Network = Callable[[Tensor], Tensor]


class Format(NamedTuple):
    """A kind of file.

    Args:
        file: Its name.
        save: Writes a network on the CPU in evaluation mode; gets two images ``(2, C, H, W)``.
        load: Makes a function from images ``(N, C, H, W)`` to logits ``(N, K)`` of a file; gets
            what builds the plain network, and the device.
        has_graph: Whether the file holds what is computed too, in float32, not weights alone.
        packages: What it needs besides those of training.
        executes: Whether reading such a file may execute code that it holds.
    """

    file: str
    save: Callable[[nn.Module, Tensor, Path], object]
    load: Callable[[Path, Callable[[], nn.Module], torch.device], Network]
    has_graph: bool = False
    packages: tuple[str, ...] = ()
    executes: bool = False

    def check_installed(self) -> None:
        """Check that its packages are there.

        Raises:
            UserError: If one is not.
        """
        if missing := [name for name in self.packages if find_spec(name) is None]:
            raise UserError(
                f"export: {self.file} needs {', '.join(missing)}; install what is missing with: "
                f"{how_to_install('export')}"
            )


def _copied(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors that share memory, or lie in another order."""
    return {
        name: value.clone(memory_format=torch.contiguous_format) for name, value in state.items()
    }


def _save_safetensors(network: nn.Module, images: Tensor, path: Path) -> None:
    path.write_bytes(save(_copied(network.state_dict()), metadata={"format": "pt"}))


def _save_state_dict(network: nn.Module, images: Tensor, path: Path) -> None:
    torch.save(_copied(network.state_dict()), path)


def _save_torch_export(network: nn.Module, images: Tensor, path: Path) -> None:
    sizes = ({0: torch.export.Dim("batch")},)
    torch.export.save(torch.export.export(network, (images,), dynamic_shapes=sizes), path)


def _save_onnx(network: nn.Module, images: Tensor, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of operators that are written otherwise
        torch.onnx.export(
            network,
            (images,),
            path,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            external_data=False,
            dynamo=True,
            verbose=False,
        )


def _with_state(
    read: Callable[[Path], dict[str, Tensor]],
) -> Callable[[Path, Callable[[], nn.Module], torch.device], Network]:
    def load(path: Path, build: Callable[[], nn.Module], device: torch.device) -> Network:
        state = read(path)
        dtype = next(value.dtype for value in state.values() if value.is_floating_point())
        network = build().to(device, dtype)
        network.load_state_dict(state)
        return network.eval().requires_grad_(False)

    return load


def _load_torch_export(path: Path, build: Callable[[], nn.Module], device: torch.device) -> Network:
    return torch.export.load(path).module().to(device).requires_grad_(False)


def _load_onnx(path: Path, build: Callable[[], nn.Module], device: torch.device) -> Network:
    import onnxruntime  # an extra

    session: Any = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> Tensor:
        with as_user_error("onnxruntime: ", Exception):  # its errors have no class in common
            (logits,) = session.run(["logits"], {"images": images.float().cpu().numpy()})
        return torch.from_numpy(logits).to(images.device)

    return run


FORMATS = {
    "safetensors": Format("model.safetensors", _save_safetensors, _with_state(load_file)),
    "state_dict": Format(
        "model.pt",
        _save_state_dict,
        _with_state(lambda path: torch.load(path, weights_only=True)),
    ),
    "onnx": Format(
        "model.onnx",
        _save_onnx,
        _load_onnx,
        has_graph=True,
        packages=("onnx", "onnxscript", "onnxruntime"),
    ),
    "torch_export": Format(
        "model.pt2",
        _save_torch_export,
        _load_torch_export,
        has_graph=True,
        executes=True,  # torch unpickles it
    ),
}
