"""Tests of semaug.report.render."""

import json
import re
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from semaug.report import collect, render
from semaug.runs.read import Measure

VOID = {"meta", "link", "wbr", "img"}


class Page(HTMLParser):
    """Reads a page: elements with their attributes, text of cells and headings, ids.

    It refuses elements that are closed in another order than they were opened.
    """

    def __init__(self, html):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), []))
        if tag not in VOID:
            self.open.append(self.elements[-1])

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), []))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        for _, _, text in self.open:
            text.append(data)

    def texts_of(self, *tags):
        """Return the text of each element of some kinds."""
        return [" ".join("".join(text).split()) for tag, _, text in self.elements if tag in tags]

    def attributes(self, name):
        return [attributes[name] for _, attributes, _ in self.elements if name in attributes]


@pytest.fixture
def page(two_recipes):
    return Page(render(collect([two_recipes])))


def cells(html, caption):
    """Return the texts of the rows of the table with a caption."""
    (table,) = re.findall(
        rf"<table[^>]*>\s*<caption>{re.escape(caption)}.*?</table>", html, flags=re.DOTALL
    )
    rows = re.findall(r"<tr>(.*?)</tr>", table, flags=re.DOTALL)
    return [
        [re.sub("<.*?>", "", cell) for cell in re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row)]
        for row in rows
    ]


def test_a_page_needs_nothing_from_elsewhere(page, two_recipes):
    addresses = [*page.attributes("src"), *page.attributes("href"), *page.attributes("xlink:href")]
    assert addresses
    assert all(address.startswith("#") or address == "data:," for address in addresses)
    html = render(collect([two_recipes]))
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)
    assert "default-src 'none'" in html


def test_ids_are_unique_and_everything_that_is_pointed_at_exists(page):
    ids = page.attributes("id")
    assert [id for id, times in Counter(ids).items() if times > 1] == []
    for reference in [*page.attributes("href"), *page.attributes("aria-labelledby")]:
        for id in reference.removeprefix("#").split():
            assert id in ids or reference == "data:,"


def test_each_part_has_its_heading(page):
    assert page.texts_of("h1") == ["Training report"]
    assert page.texts_of("h2") == ["digits", "All runs"]
    assert page.texts_of("h3") == [
        "What was run",
        "Learning curves",
        "Results",
        "Paired differences",
        "Everything else that was written down",
        "Time, device and software",
        "digits_resnet8, seed 0",
        "digits_resnet8, seed 1",
        "digits_resnet8_isda, seed 0",
        "digits_resnet8_isda, seed 1",
    ]
    levels = [int(tag[1]) for tag, _, _ in page.elements if re.fullmatch(r"h\d", tag)]
    assert all(b - a <= 1 for a, b in pairwise(levels))


def test_numbers_are_those_of_the_summaries(two_recipes):
    html = render(collect([two_recipes]))
    rows = cells(html, "All runs; error in percent")
    assert rows[0][:3] == ["recipe", "seed", "state"]
    assert rows[0][3:6] == ["mean of last 4 epochs", "last epoch", "best epoch"]
    for row in rows[1:]:
        path = two_recipes / row[0] / f"seed{row[1]}" / "summary.json"
        summary = json.loads(path.read_text())
        results = summary["results"][""]["error"]
        assert row[2:6] == ["finished", *(f"{value:.2f}" for value in results.values())]
        for value in results.values():  # sorted by all digits
            assert f'data-key="{value}"' in html
    assert len(rows) == 5


def test_results_are_mean_and_deviation_over_finished_runs(two_recipes, write_run):
    write_run(seed=2, done=3)
    html = render(collect([two_recipes]))
    first, second = cells(html, "Test error in percent, lower is better: mean ± standard")[1:]
    assert first[:4] == ["digits_resnet8", "2", "18.94 ± 0.27", "12.62 ± 0.18"]
    assert second[:4] == ["digits_resnet8_isda", "2", "16.11 ± 1.56", "10.74 ± 1.04"]
    recipes = cells(html, "Recipes and their runs")
    assert recipes[1] == ["digits_resnet8", "0, 1, 2", "2", "seed 2 at epoch 3 of 4"]
    assert recipes[2] == ["digits_resnet8_isda", "0, 1", "2", "all finished"]


def test_paired_differences_come_with_their_interval(two_recipes):
    (row,) = cells(render(collect([two_recipes])), "Test error in percent, mean of last 4 epochs")[
        1:
    ]
    assert row[:4] == ["digits_resnet8", "digits_resnet8_isda", "2", "−2.83"]
    assert row[4:] == ["−14.51 to +8.84", "too few pairs for a verdict, which takes 3"]


@pytest.mark.parametrize(
    ("scales", "shows"),
    [
        ((0.5,), "too few pairs for a verdict, which takes 3"),
        ((0.50, 0.51), "too few pairs for a verdict, which takes 3"),
        ((1.50, 1.51, 0.49), "no difference: contains 0"),
        ((0.50, 0.51, 0.49), "better"),
        ((1.50, 1.51, 1.49), "worse"),
    ],
)
def test_what_a_difference_shows_is_said(write_run, tmp_path, scales, shows):
    for seed, scale in enumerate(scales):
        write_run("a", seed)
        write_run("b_isda", seed, scale=scale, device="a GPU")
    (row,) = cells(render(collect([tmp_path])), "Test error in percent, mean of last 4")[1:]
    assert row[5] == f"{shows} (unequal device)"


def test_equal_differences_promise_nothing(write_run, tmp_path):
    for seed in (0, 1, 2):
        write_run("a", seed)
        write_run("b_isda", seed)
    (row,) = cells(render(collect([tmp_path])), "Test error in percent, mean of last 4")[1:]
    assert row[3:] == ["+0.00", "—", "the spread is zero: only more seeds can tell"]


def test_metrics_beside_the_main_one_have_tables_of_their_own(write_run, tmp_path):
    others = Measure("nll", "nats", "lower"), Measure("balanced_accuracy", "%", "higher")
    for seed in (0, 1, 2):
        for name, better in (("a", 0), ("b_isda", 0.1 + 0.01 * seed)):
            values = {"test_nll": 0.5 - better, "test_balanced_accuracy": 80 + seed + 10 * better}
            write_run(name, seed, others=others, columns=values)
    path = write_run("c", others=others[:1], columns={"test_nll": 0.25}) / "summary.json"
    summary = json.loads(path.read_text())
    del summary["other_metrics"]  # an earlier version kept no unit
    path.write_text(json.dumps(summary))
    html = render(collect([tmp_path]))
    headings = ["nll in nats, lower is better", "balanced_accuracy in percent, higher is better"]
    assert cells(html, "Other metrics, mean of last 4 epochs: mean ± standard deviation") == [
        ["recipe", "runs", *headings],
        ["a", "3", "0.500 ± 0.000", "81.00 ± 1.00"],
        ["c", "1", "0.250", "—"],
        ["b_isda", "3", "0.390 ± 0.010", "82.10 ± 1.10"],
    ]
    pairs = cells(html, "Other metrics, mean of last 4 epochs: compared minus baseline")
    assert pairs[0][:3] == ["metric", "baseline", "compared"]
    found = {(row[0], *row[1:3]): row[3:] for row in pairs[1:]}
    assert found[headings[0], "a", "b_isda"] == ["3", "−0.110", "−0.135 to −0.085", "better"]
    assert found[headings[1], "a", "b_isda"] == ["3", "+1.10", "+0.85 to +1.35", "better"]
    assert found.keys() & {(heading, "a", "c") for heading in headings} == {(headings[0], "a", "c")}


def test_few_classes_are_one_table(write_run, tmp_path):
    for seed in (0, 1):
        write_run("a", seed, by_class={"cat": 10 + seed, "dog": 20.0, "<eel>": 5.0})
    write_run("b_isda", 1, by_class={"cat": 8.0, "dog": 21.5, "<eel>": 5.0})
    write_run("c")
    html = render(collect([tmp_path]))
    rows = cells(
        html, "Test error of each class in percent, mean of last 4 epochs and mean of runs"
    )
    assert rows == [
        ["class", "a", "b_isda"],
        ["cat", "10.50", "8.00 (−3.00)"],  # of the common seed: 8 - 11
        ["&lt;eel&gt;", "5.00", "5.00 (+0.00)"],
        ["dog", "20.00", "21.50 (+1.50)"],
    ]
    assert 'class="number gain" style="--heat: 1.000" data-key="-3.0"' in html
    assert 'class="number loss" style="--heat: 0.500" data-key="1.5"' in html
    assert "the difference to a with the same seeds: below 0 is better" in html
    assert "classes</h4>" not in html
    assert Page(html).texts_of("h3").count("Test error by class") == 1


def test_of_many_classes_those_at_both_ends_come_first(write_run, tmp_path):
    names = [f"class{place}" for place in range(31)]
    write_run("a", by_class=dict.fromkeys(names, 50.0))
    changed = {name: 50.0 + (7 * place) % 31 for place, name in enumerate(names)}
    write_run("b_isda", by_class=changed)
    html = render(collect([tmp_path]))
    ends = cells(html, "The 15 classes that gain most and the 15 that lose most: test error")
    assert [float(row[2].split("+")[1].rstrip(")")) for row in ends[1:]] == [
        change for change in range(31) if change != 15
    ]
    everything = cells(html, "All 31 classes: test error of each class")
    assert [row[0] for row in everything[1:]] == names
    assert "All 31 classes" in Page(html).texts_of("h4")


def test_one_recipe_has_classes_without_a_difference(write_run):
    errors = {f"class{place}": 3.0 * place for place in range(40)}
    html = render(collect([write_run(by_class=errors)]))
    rows = cells(html, "The 15 best and the 15 worst classes: test error of each class in percent")[
        1:
    ]
    assert [row[1] for row in rows[:15]] == [f"{3 * place:.2f}" for place in range(15)]
    assert [row[1] for row in rows[15:]] == [f"{3 * place:.2f}" for place in range(25, 40)]
    assert "Rings are" not in html
    assert "--heat:" not in html


def test_memory_stands_beside_the_time(write_run, tmp_path):
    write_run("a", 0, peak_memory_mib=400.4)
    write_run("a", 1, peak_memory_mib=500.6)
    write_run("b_isda", 0, peak_memory_mib=20480.0)
    write_run("c")
    html = render(collect([tmp_path]))
    rows = cells(html, "Time of finished runs, images/s (median over epochs), memory of the run")
    assert [row[3] for row in rows] == ["peak memory", "501 MiB", "—", "20.0 GiB"]
    shown = [row[-1] for row in cells(html, "All runs; error in percent")]
    assert shown == ["peak memory", "400 MiB", "501 MiB", "—", "20.0 GiB"]


def test_many_recipes_are_compared_with_one(write_run, tmp_path):
    for place in range(7):
        write_run(f"recipe{place}")
    assert "Each recipe is compared with the first alone." in render(collect([tmp_path]))


def test_held_out_errors_are_called_so(write_run):
    html = render(collect([write_run(recipe={"subset": {"name": "standard", "hold_out": 10}})]))
    assert "Held-out error in percent" in html
    assert "Test error" not in html


def test_each_run_shows_its_whole_recipe(page, two_recipes):
    for run, shown in zip(collect([two_recipes]).runs, page.texts_of("pre"), strict=True):
        assert json.loads(shown) == run.recipe


def test_names_are_shown_and_never_run(write_run, tmp_path):
    evil = "<script>alert(1)</script>\"'&amp;<svg onload=x>"
    folder = write_run(
        "x",
        overrides={"lr": evil},
        device=evil,
        commit=evil,
        versions={evil: evil},
        recipe={"data": {"name": evil}, evil: evil},
        columns={evil: 1.0},
    )
    (folder / "environment.json").write_text("<script>")
    html = render(collect([folder]))
    page = Page(html)
    assert len(page.texts_of("script")) == 1
    assert "onload" not in {name for _, attributes, _ in page.elements for name in attributes}
    assert page.texts_of("h2")[1] == evil
    assert evil in page.texts_of("figcaption")


def test_pictures_are_whole_and_described(two_recipes):
    html = render(collect([two_recipes]))
    pictures = re.findall(r"<figure.*?(<svg.*?</svg>)</figure>", html, flags=re.DOTALL)
    assert len(pictures) == 5
    for picture in pictures:
        root = ElementTree.fromstring(picture)
        assert root.get("role") == "img"
        assert [child.tag.rpartition("}")[2] for child in root][:2] == ["title", "desc"]


def test_notes_are_seen_and_nothing_else_is_lost(write_run, tmp_path):
    write_run()
    (write_run(seed=1) / "summary.json").write_text("{")
    (write_run(seed=2) / "metrics.jsonl").write_text("")
    page = Page(render(collect([tmp_path])))
    assert page.texts_of("h2")[0] == "Notes"
    assert any(
        "seed1/summary.json: expected JSON, got a damaged" in text for text in page.texts_of("li")
    )
    assert "digits_resnet8, seed 2" in page.texts_of("h3")


@pytest.mark.parametrize("columns", [{"test_error": None, "train_error": None}, {}])
def test_a_run_without_tests_is_a_page(write_run, columns):
    page = Page(render(collect([write_run(done=int(bool(columns)), columns=columns)])))
    assert "No error was written down yet." in page.texts_of("p")


def test_notes_alone_are_a_page(write_run):
    folder = write_run(done=2)
    (folder / "recipe.json").write_text("{")
    page = Page(render(collect([folder])))
    assert page.texts_of("h2") == ["Notes", "All runs"]


def test_every_control_is_a_button_with_a_name(page):
    assert "Skip to the report" in page.texts_of("a")
    assert all(page.texts_of("button"))
    assert page.texts_of("button").count("images/s") == 2
    assert not any(name.startswith("on") for _, found, _ in page.elements for name in found)


def test_what_no_screen_can_show_is_replaced(write_run, tmp_path):
    folder = write_run(device="\ud800", columns={"\ud800": 1.0}, recipe={"data": {"name": "a\x07"}})
    html = render(collect([folder]))
    assert html.encode()
    assert Page(html).texts_of("h2") == ["a\ufffd", "All runs"]
    assert "\x07" not in html


def test_runs_on_other_images_are_listed_apart_whatever_their_names(write_run, tmp_path):
    for place, data in enumerate(("cats", "dogs")):
        write_run(root=data, recipe={"data": {"name": data}}, epochs=2 + place)
    html = render(collect([tmp_path]))
    for place, data in enumerate(("cats", "dogs")):
        heading, row = cells(html, f"All runs; error in percent on {data}")
        assert heading[3] == f"mean of last {2 + place} epochs"
        assert row[:2] == ["digits_resnet8", "0"]


def test_each_predictor_has_its_rows(write_run, tmp_path):
    for name in ("a", "b_isda"):
        write_run(name, predictors=("", "network 2"))
    html = render(collect([tmp_path]))
    results = cells(html, "Test error in percent, lower is better: mean ± standard deviation")
    names = ["a", "a, network 2", "b_isda", "b_isda, network 2"]
    assert [row[0] for row in results] == ["recipe", *names]
    assert results[2][2:] == ["22.50", "15.00", "15.00"]
    runs = cells(html, "All runs; error in percent")
    assert [row[0] for row in runs] == ["recipe", *names]
    pairs = cells(html, "Test error in percent, mean of last 4 epochs: compared minus baseline")
    assert [row[:2] for row in pairs[1:]] == [
        ["a", "b_isda"],
        ["a, network 2", "b_isda, network 2"],
    ]
    assert "test error, network 2" in html


def test_where_higher_is_better_a_rise_is_a_gain(write_run, tmp_path):
    miou = Measure("miou", "%", "higher", "best")
    for seed, scale in enumerate((1.10, 1.11, 1.09)):
        write_run("a", seed, measure=miou, by_class={"car": 50.0, "road": 90.0})
        better = {"car": 60.0, "road": 85.0}
        write_run("b_isda", seed, scale=scale, measure=miou, by_class=better)
    html = render(collect([tmp_path]))
    (row,) = cells(
        html,
        "Test miou in percent, best epoch: compared minus baseline, over runs with the same seed; "
        "above 0 is better",
    )[1:]
    assert row[3] == "+5.50"
    assert row[5] == "better"
    assert "Test miou in percent, higher is better: mean ± standard deviation" in html
    assert 'class="number gain" style="--heat: 1.000" data-key="10.0"' in html
    assert 'class="number loss" style="--heat: 0.500" data-key="-5.0"' in html
    assert [row[0] for row in cells(html, "Test miou of each class in percent")] == [
        "class", "car", "road"
    ]  # fmt: skip
    assert "Solid is the test miou, dotted the training miou" in " ".join(html.split())


def test_each_metric_has_a_table_of_runs(write_run, tmp_path):
    write_run("a")
    write_run("b", measure=Measure("frechet", "", "lower"))
    html = render(collect([tmp_path]))
    assert [row[0] for row in cells(html, "All runs; error in percent")[1:]] == ["a"]
    assert [row[0] for row in cells(html, "All runs; frechet")[1:]] == ["b"]
    assert Page(html).texts_of("h2") == ["digits, error", "digits, frechet", "All runs"]
