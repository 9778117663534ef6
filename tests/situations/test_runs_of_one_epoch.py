"""A run with a single test: a mean of one is called what it is."""

import io

import pytest
from rich.console import Console

from semaug.cli.printing import print_summary
from semaug.recipes import find_recipe
from semaug.report import collect, render
from semaug.runs.run import Run
from tests.queue.summaries import summary_of


@pytest.mark.parametrize(
    ("length", "epochs", "words", "took"),
    [
        ("epochs=1", 1, "1.00 % (last epoch), 1.00 % (best epoch)", "1 epoch in 2.0 s"),
        ("epochs=2", 2, "1.00 % (mean of last 2 epochs), 1.00 % (last", "2 epochs in 2.0 s"),
        ("epochs=20", 20, "1.00 % (mean of last 10 epochs), 1.00 % (last", "20 epochs in"),
        ("steps=5", 1, "1.00 % (last test), 1.00 % (best test)", "5 steps in 2.0 s"),
    ],
)
def test_its_numbers_are_named(length, epochs, words, took):
    run = Run("digits_resnet8", find_recipe(f"digits_resnet8,{length}"))
    summary = summary_of(1.0, epochs=epochs, seconds=2.0, device="a CPU", test_on="test")
    output = io.StringIO()
    print_summary(Console(file=output, width=200), run, summary)
    assert f"test error {words}" in output.getvalue()
    assert took in output.getvalue()


def test_a_report_has_no_column_for_the_mean_of_one(write_run):
    html = render(collect([write_run(epochs=1, columns={"test_error": 3.0})]))
    caption = html.index("Test error in percent, lower is better: mean")
    results = html[caption : html.index("</table>", caption)]
    assert "mean of last" not in results
    assert results.count("last epoch") == results.count("best epoch") == 1
