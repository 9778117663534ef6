"""The page in a browser without a window: width, themes, sorting."""

import re
import shutil
import subprocess

import pytest

from semaug.report import collect, render

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium to look at the page; on Debian: apt-get install chromium"
)

LONG = "x" * 90


@pytest.fixture
def browse(tmp_path):
    """Return a function that opens a page and returns what a script of ours found in it."""

    def browse(html, script, *options):
        path = tmp_path / "page.html"
        probe = f"<script>document.title = String((() => {{{script}}})())</script></body>"
        path.write_text(html.replace("</body>", probe))
        # On a machine that is busy the browser may need long to start.
        result = subprocess.run(
            [
                BROWSER,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                f"--user-data-dir={tmp_path / 'browser'}",
                *options,
                path.as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert result.returncode == 0, result.stderr
        title = re.search(r"<title>(.*?)</title>", result.stdout)
        return title and title[1]

    return browse


@pytest.fixture
def html(two_recipes, write_run):
    (write_run(seed=9, recipe={LONG: LONG}, device=LONG) / "environment.json").write_text("{")
    return render(collect([two_recipes]))


@pytest.fixture
def classes_html(write_run, tmp_path):
    """Two recipes and 40 classes: no error changes as that of another."""
    names = [f"class {place} {LONG}" for place in range(40)]
    write_run("a", by_class=dict.fromkeys(names, 30.0))
    changed = {name: 10.0 + place for place, name in enumerate(names)}
    write_run("b_isda", by_class=changed)
    return render(collect([tmp_path]))


def test_a_phone_shows_the_page_without_scrolling_sideways(html, browse):
    script = """
      for (const details of document.querySelectorAll("details")) details.open = true;
      document.body.style.width = "340px";
      return document.body.scrollWidth;
    """
    assert browse(html, script, "--dump-dom", "--window-size=390,800") == "340"


def test_a_phone_shows_what_is_predicted_wrongly(write_run, keep, browse):
    names = [f"{LONG}/{place}.jpg" for place in range(30)]
    outputs = [[float(k == (place + 1) % 30) for k in range(30)] for place in range(30)]
    folder = keep(write_run(), [*range(30)], outputs, names, [f"{k} {LONG}" for k in range(30)])
    script = """
      for (const details of document.querySelectorAll("details")) details.open = true;
      document.body.style.width = "340px";
      const shown = [...document.images].every((image) => image.naturalWidth === 4);
      return `${document.body.scrollWidth} ${document.images.length} ${shown}`;
    """
    html = render(collect([folder]))
    assert browse(html, script, "--dump-dom", "--window-size=390,800") == "340 30 true"


def test_a_phone_shows_many_classes(classes_html, browse):
    script = """
      for (const details of document.querySelectorAll("details")) details.open = true;
      document.body.style.width = "340px";
      return document.body.scrollWidth;
    """
    assert browse(classes_html, script, "--dump-dom", "--window-size=390,800") == "340"


def test_classes_are_colored_by_their_change_and_sorted_by_it(classes_html, browse):
    script = """
      const table = [...document.querySelectorAll("table")].find((table) =>
        table.caption.textContent.startsWith("All 40 classes"));
      table.tHead.rows[0].cells[2].querySelector("button").click();
      const cells = [...table.tBodies[0].rows].map((row) => row.cells[2]);
      const color = (cell) => getComputedStyle(cell).backgroundColor;
      const show = (cell) => cell.textContent + color(cell);
      return [cells[0], cells[20], cells.at(-1)].map(show).join(";");
    """
    best, same, worst = browse(classes_html, script, "--dump-dom").split(";")
    assert best == "10.00 (−20.00)rgba(70, 150, 225, 0.5)"
    assert same == "30.00 (+0.00)rgba(0, 0, 0, 0)"
    assert worst == "49.00 (+19.00)rgba(235, 140, 60, 0.475)"


def test_headings_sort_their_table_both_ways(html, browse):
    script = """
      const table = [...document.querySelectorAll("table")].at(-1);
      const column = 3;
      const heading = table.tHead.rows[0].cells[column];
      const seen = [];
      for (const click of [1, 2]) {
        heading.querySelector("button").click();
        seen.push(heading.getAttribute("aria-sort"));
        seen.push([...table.tBodies[0].rows].map((row) => row.cells[column].dataset.key));
      }
      return seen.join(";");
    """
    up, rising, down, falling = browse(html, script, "--dump-dom").split(";")
    rising = [float(value) for value in rising.split(",")]
    assert (up, down) == ("ascending", "descending")
    assert rising == sorted(rising)
    assert [float(value) for value in falling.split(",")] == rising[::-1]
    assert len(set(rising)) == 5


def test_the_theme_changes_with_the_button(html, browse):
    script = """
      const color = () => getComputedStyle(document.body).backgroundColor;
      const line = document.querySelector("figure svg path[style*=series]");
      const stroke = () => getComputedStyle(line).stroke;
      const before = [color(), stroke()];
      document.getElementById("theme").click();
      const after = [color(), stroke()];
      document.getElementById("theme").click();
      return [before[0] !== after[0], before[1] !== after[1], color() === before[0]].join(" ");
    """
    assert browse(html, script, "--dump-dom") == "true true true"


def test_a_link_to_a_run_opens_it(html, browse):
    script = """
      location.hash = "run-2";
      dispatchEvent(new HashChangeEvent("hashchange"));
      return [...document.querySelectorAll("details")].map((details) => details.open).join(" ");
    """
    assert browse(html, script, "--dump-dom") == "false true false false false"


def test_the_browser_can_take_a_picture(html, browse, tmp_path):
    browse(html, "return 1", f"--screenshot={tmp_path / 'page.png'}", "--window-size=1200,2000")
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")


def test_the_pointer_shows_the_values_of_the_nearest_epoch(two_recipes, browse):
    script = """
      const svg = document.querySelector("svg[data-curves]");
      const { left, right, ends } = JSON.parse(svg.dataset.curves);
      const box = svg.getBoundingClientRect();
      const at = left + (right - left) * (2.2 - ends[0]) / (ends[1] - ends[0]);
      const clientX = box.left + box.width * at;
      svg.dispatchEvent(new PointerEvent("pointermove", { clientX, clientY: box.top + 9 }));
      const tip = document.querySelector(".tip");
      const shown = [tip.hidden, ...tip.textContent.split("\\n")];
      svg.dispatchEvent(new PointerEvent("pointerleave"));
      return [...shown, tip.hidden].join("; ");
    """
    shown = browse(render(collect([two_recipes])), script, "--dump-dom").split("; ")
    assert (shown[0], shown[1], shown[-1]) == ("false", "epoch 2", "true")
    assert "digits_resnet8, test error: 25.25" in shown
