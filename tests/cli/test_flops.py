"""Tests of semaug.cli.flops."""

import pytest
import typer
from typer.testing import CliRunner

from semaug.cli.flops import flops_command
from semaug.errors import UserError


@pytest.fixture
def run(monkeypatch):
    """Return a function that runs the command: its output in lines of words."""
    monkeypatch.setenv("COLUMNS", "100")
    app = typer.Typer()
    app.command()(flops_command)

    def run(*arguments):
        result = CliRunner().invoke(app, arguments)
        if isinstance(result.exception, UserError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return [" ".join(line.split()) for line in result.output.splitlines()]

    return run


def test_a_network_of_the_papers_costs_what_they_print(run):
    lines = run("resnet32_cifar")
    assert lines[0] == "resnet32_cifar, 10 classes, images of 3 x 32 x 32"
    assert "parameters 466,906" in lines
    assert "features before the classifier 64" in lines
    assert "multiply-adds of one image, forward 69,124,736" in lines
    assert "the same with ReLUs and poolings, as the papers count 69,431,936" in lines
    assert "ISDA adds to an image (full covariances, batches of 128)" in lines
    assert "as the papers count it, forward 47,296 0.07 %" in lines


def test_full_covariances_cost_less_here_on_a_cpu_than_on_a_gpu(run):
    lines = run("resnet20_cifar", "--num-classes", "100", "--batch-size", "64")
    # R = 64 classes, C = 100, A = 64: (R C A^2 + (64 + 2 R) A^2) / 64; or 64 R for the first 64.
    assert [line for line in lines if line.startswith("semaug")] == [
        "semaug, forward, on a CPU at most 421,888 1.03 %",
        "semaug, forward, on a GPU 679,936 1.67 %",
        "semaug, backward 12,800 0.03 %",
    ]


def test_diagonal_covariances_cost_the_same_everywhere(run):
    lines = run("resnet50", "--num-classes", "1000", "--covariance", "diagonal")
    assert lines[0] == "resnet50, 1000 classes, images of 3 x 224 x 224"
    assert "as the papers count it, forward 10,240,000 0.25 %" in lines
    assert sum(line.startswith("semaug, forward") for line in lines) == 1


def test_the_size_of_images_can_be_chosen(run):
    smaller = run("resnet20_cifar", "--image-size", "16")
    assert smaller[0].endswith("3 x 16 x 16")
    # The classifier's 640, and a quarter of what convolutions take for 32 x 32 pixels.
    assert "multiply-adds of one image, forward 10,203,776" in smaller


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resnet32_cifra"], "flops: unknown network 'resnet32_cifra'; did you mean 'resnet32_cif"),
        (["resnet8_cifar", "--covariance", "diag"], "unknown covariance 'diag'; did you mean 'dia"),
        (
            ["vit_tiny_patch16_224", "--image-size", "32"],
            "cannot count vit_tiny_patch16_224 for images of 3 x 32 x 32: ",
        ),
    ],
)
def test_mistakes_end_in_one_line(run, arguments, message):
    with pytest.raises(UserError, match=message) as error:
        run(*arguments)
    assert "\n" not in str(error.value)
