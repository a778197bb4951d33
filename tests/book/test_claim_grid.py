"""The grid of claims: what its cells say, and what they open to, of findings written by hand and of a real study."""

import json
import re

import numpy as np
import pytest
import yaml

import claimed
from efcnbook.claims import claim_list, forest, grid
from efcnbook.claims.finding import NATS, POINTS, Finding
from efcnbook.claims.verdicts import NOT_TESTED
from efcnlab.config import studies
from efcnlab.environment import REPOSITORY
from efcnlib.training.optimisers import Optimiser
from judged import BETTER, GOOD, OPEN, PARTLY, WORSE, finding, soup, study

WICKED = '<script>alert("1")</script> & <b>bold</b>'


def cells(by_study):
    """The cells of each row, by its heading."""
    rows = soup(grid.grid(by_study)).select("table.claims tbody tr")
    return {row.th.get_text(): row.find_all("td") for row in rows}


def row(found, heading="4 always improves"):
    return cells({study(): found})[heading]


@pytest.mark.parametrize(
    ("values", "verdict"), [(BETTER, "holds"), (WORSE, "fails"), (PARTLY, "mixed"), (OPEN, "open")]
)
def test_a_cell_shows_the_verdict_and_one_number_with_its_interval(values, verdict):
    one = finding(4, values)
    (cell,) = row([one])
    interval = one.effects.intervals["late mean"]
    mean = np.mean([values[20], values[40]])
    assert interval.mean == pytest.approx(mean, abs=1e-15)
    assert cell["class"] == [verdict]
    assert cell.b.get_text() == verdict
    number = f"{100 * mean:+.1f} ± {100 * (interval.high - interval.mean):.1f}".replace("-", "−")
    assert cell.span.get_text() == number
    assert cell.small is None


def test_of_one_seed_there_is_a_number_without_an_interval():
    (cell,) = row([finding(4, {tw: of[:1] for tw, of in BETTER.items()})])
    assert (cell["class"], cell.span.get_text()) == (["open"], "+4.0")


def test_nats_have_two_digits_and_what_has_no_effects_has_its_own_number():
    (cell,) = row([finding(9, BETTER, scale=NATS)], "9 barrier, except late")
    assert re.fullmatch(r"\+0\.05 ± \d\.\d\d", cell.span.get_text())
    (cell,) = row([Finding(1, "an error", "holds", number="4e-16")], "1 exact embedding")
    assert cell.get_text() == "holds4e-16"


def test_what_is_not_tested_says_why():
    reason = "10 epochs after the embedding, where the supplement has 100"
    one = Finding(2, "orders", NOT_TESTED, number="+2.44 orders (tw = 40)", reason=reason)
    page = soup(grid.grid({study(): [one]}))
    (cell,) = page.select("td.not-tested")
    assert cell.get_text() == "not tested+2.44"
    opened = page.select_one(f"#{cell.button['popovertarget']}")
    assert f"Orders: not tested ({reason}). +2.44 orders (tw = 40)." in opened.get_text()


def test_relax_times_that_are_left_out_stand_there_with_the_reason():
    skipped = {0: "the eFCN is at chance", 2: "the eFCN is at chance", 40: "the eFCN diverged"}
    one = finding(4, {20: GOOD}, skipped=skipped)
    said = soup(grid.parts([one], 4)).get_text()
    assert "Not tested at tw = 0 and 2: the eFCN is at chance; tw = 40: the eFCN diverged." in said
    none = Finding(4, "a statistic", NOT_TESTED, reason="nothing can be tested", skipped=skipped)
    said = soup(grid.parts([none], 4)).get_text()
    assert said == "A statistic: not tested (tw = 0 and 2: the eFCN is at chance; tw = 40: the eFCN diverged)."


@pytest.mark.parametrize(
    ("own", "others", "said"),
    [
        (BETTER, {"control": BETTER}, "so does control"),
        (BETTER, {"control": PARTLY}, None),
        (PARTLY, {"control": BETTER, "elcn": PARTLY, "lowered": OPEN}, "so do control and eLCN"),
        (OPEN, {"control": BETTER}, None),
        (OPEN, {"control": OPEN}, None),
        (WORSE, {"control": WORSE}, None),
    ],
)
def test_it_says_so_where_a_control_passes_as_well(own, others, said):
    found = [finding(4, own), *(finding(4, values, kind) for kind, values in others.items())]
    (cell,) = row(found)
    assert (cell.small and cell.small.get_text()) == said
    names = {"control": "control", "elcn": "eLCN", "lowered": "lowered rate"}
    table = soup(grid.placebo_rows(found, 4)).select("table.placebo tr")
    shown = {line.td.get_text(): line.b.get_text() for line in table}
    assert shown == {names[one.kind]: one.verdict for one in found[1:]}
    for line, one in zip(table, found[1:], strict=True):
        assert f"{one.value}; {one.sides}" == line.find_all("td")[2].get_text()


def test_of_parts_that_disagree_the_cell_is_mixed_and_both_are_shown():
    found = [finding(10, BETTER, statistic="on the linear path"), finding(10, OPEN, statistic="on the string path")]
    found.append(finding(10, OPEN, "control", statistic="on the string path to the control"))
    found.append(finding(10, OPEN, "control", statistic="on the linear path to the control"))
    (cell,) = row(found, "10 better inside the path")
    assert cell["class"] == ["mixed"]
    opened = soup(grid.grid({study(): found})).select_one(".claim-opened")
    assert len(opened.select("svg.forest")) == 2
    assert [line.find_all("td")[2].get_text().split(":")[0] for line in opened.select(".placebo tr")] == [
        "On the string path to the control",
        "On the linear path to the control",
    ]


def numbers(node, *names):
    return [float(node[name]) for name in names]


@pytest.mark.parametrize("values", [BETTER, WORSE, PARTLY, {0: (0.3, 0.31, 0.32), 20: GOOD}])
def test_a_forest_plot_has_each_effect_where_it_belongs(values):
    one = finding(4, values)
    lines = forest.rows(one.effects)
    picture = soup(forest.svg(lines, POINTS, "what is shown")).svg
    assert picture["aria-label"] == "what is shown"
    ticks = [text for text in picture.find_all("text") if text.get("text-anchor") == "middle"][:-1]
    places = {float(text.get_text().replace("−", "-")): float(text["x"]) for text in ticks}
    (low, x_low), (high, x_high) = min(places.items()), max(places.items())
    (zero,) = picture.select("line.zero")
    dots, bars = picture.select("circle"), [line for line in picture.select("line[class]") if line["y1"] == line["y2"]]
    bars = [bar for bar in bars if bar["class"] != ["axis"]]

    def value(x):
        return (low + (x - x_low) / (x_high - x_low) * (high - low)) / 100

    near = 0.2 * (high - low) / (x_high - x_low) / 100  # what rounding to a tenth leaves
    assert value(float(zero["x1"])) == pytest.approx(0, abs=near)
    assert [str(line.name) for line in lines] == [str(label) for label in one.effects.intervals]
    assert len(dots) == len(bars) == len(lines) >= len(values)
    names = [text.get_text() for text in picture.find_all("text") if text.get("text-anchor") == "end"]
    assert names == ["tw", *(line.name for line in lines)]
    for (label, interval), dot, bar in zip(one.effects.intervals.items(), dots, bars, strict=True):
        assert value(float(dot["cx"])) == pytest.approx(interval.mean, abs=near)
        assert [value(x) for x in numbers(bar, "x1", "x2")] == pytest.approx([interval.low, interval.high], abs=near)
        assert dot["class"] == bar["class"] == [one.effects.side(label)]
        assert dot["cy"] == bar["y1"]
    text = [text.get_text() for text in picture.find_all("text") if not text.get("text-anchor")]
    wanted = [(100 * of.mean, 100 * (of.high - of.mean)) for of in one.effects.intervals.values()]
    assert text == [f"{mean:+.2f} ± {half:.2f}".replace("-", "−") for mean, half in wanted]
    assert not picture.select("path")


def test_an_interval_that_goes_on_ends_in_an_arrow():
    one = finding(4, {0: (-0.9, 0.1, 0.8), 20: GOOD, 40: GOOD})
    picture = soup(forest.svg(forest.rows(one.effects), POINTS, "")).svg
    width, xs = float(picture["viewbox"].split()[2]), [float(line["x1"]) for line in picture.select("line")]
    assert len(picture.select("path.open")) == 2
    assert 0 < min(xs) < max(xs) < width


def test_everything_a_cell_links_to_is_there(found):
    page = soup(grid.grid({claimed.STUDY: found}))
    toc = (REPOSITORY / "book" / "_toc.yml").read_text("utf-8")
    links = {link["href"] for link in page.find_all("a")}
    assert {f"claim-{number}.html" for number in range(1, 13)} <= links
    for href in links:
        page_name, _, anchor = href.partition("#")
        if page_name.startswith("claim-"):
            assert f"executed/{page_name.removesuffix('.html')}" in toc
            continue
        name = page_name.removeprefix(f"{claimed.STUDY.name}/").removesuffix(".html")
        assert f"executed/{{study}}/{name}" in toc
        cells = json.loads((REPOSITORY / "notebooks" / f"{name}.ipynb").read_text("utf-8"))["cells"]
        given = re.findall(r'page\.show\(\s*f?"([^"]+)"', "".join("".join(cell["source"]) for cell in cells))
        assert anchor in {"figure-" + re.sub(r"\W+", "-", number) for number in given}, href
    assert {href.split("#")[1] for href in links if "#" in href} == {
        of.split("#")[1] for of in claim_list.FIGURES.values()
    }


def test_a_study_without_paths_has_no_link_to_their_figure():
    own = study(path_times=())
    links = [
        link["href"] for link in soup(grid.grid({own: [finding(9, BETTER, scale=NATS)]})).select(".claim-opened a")
    ]
    assert links == ["claim-9.html"]


def test_each_cell_of_a_real_study_opens_to_something_of_its_own(found):
    page = soup(grid.grid({claimed.STUDY: found, study(): []}))
    targets = [button["popovertarget"] for button in page.select("td button")]
    panels = {panel["id"]: panel for panel in page.select(".claim-opened[popover]")}
    assert sorted(targets) == sorted(panels)
    assert len(targets) == len({one.claim for one in found if one.kind == "efcn"}) > 12
    for target, panel in panels.items():
        assert panel.button["popovertarget"] == target
        assert panel.button["popovertargetaction"] == "hide"
        assert panel.h4.get_text()
    assert len(page.select("td.none")) >= len(targets)  # the study of which nothing is known
    for one in found:
        if one.kind == "efcn":
            assert any(one.statistic[1:] in panel.get_text() for panel in panels.values())
    for claim in (4, 5, 6):
        kinds = {line.td.get_text() for line in panels[f"cell-{claim}-0"].select(".placebo tr")}
        assert kinds == {"control", "lowered rate", "eLCN"}


def test_names_cannot_break_the_page():
    own = study().model_copy(update={"name": WICKED, "title": WICKED})
    other = own.model_copy(update={"title": "x"})
    text = grid.grid({own: [finding(4, BETTER, statistic=WICKED, notes=(WICKED,))], other: []})
    text += grid.grid({own: [Finding(4, WICKED, NOT_TESTED, number=WICKED, reason=WICKED)]})
    text += grid.placebo_rows([Finding(4, WICKED, "open", "control", number=WICKED)], 4)
    page = soup(text)
    assert page.script is None
    assert "<script" not in text
    assert "bold" not in [bold.get_text() for bold in page.find_all("b")]
    assert WICKED in page.thead.get_text()
    assert WICKED in page.select_one(".claim-opened").get_text()


def test_short_names_tell_studies_apart():
    vanilla = studies.load("quick")
    same, slow = (vanilla.model_copy(update={"name": name}) for name in ("same", "slow"))
    slow = slow.model_copy(update={"relax_optimiser": Optimiser(name="adam", lr=0.00005)})
    alexnet = studies.load("alexnet-cifar100-narrow")
    names = grid.short_names([vanilla, same, slow, alexnet, study("own")])
    assert list(names.values()) == [
        "quick",
        "same",
        "VanillaCNN 8, Adam at 0.00005",
        "AlexNet 16, SGD at 0.03",
        "own",
    ]
    assert list(grid.short_names([vanilla]).values()) == ["VanillaCNN 8, SGD at 0.05"]


def test_the_symbol_of_the_relax_time_is_the_papers():
    said = grid.symbols("at tw = 5, at every early tw; the network twice")
    assert said == said.replace("tw =", "").replace(" tw;", "")
    assert said.count("<i>t</i><sub>w</sub>") == 2
    assert "network twice" in said


def test_every_row_has_a_name_of_its_own():
    keys = [*claim_list.CLAIMS, *claim_list.BEYOND]
    names = [grid.row_name(key) for key in keys]
    assert len(set(names)) == len(names)
    every = [finding(key, BETTER) for key in keys]
    numbered = [f"{key} {name}" for key, name in zip(claim_list.CLAIMS, names, strict=False)]
    assert list(cells({study(): every})) == [*numbered, "Beyond the claims", *names[len(numbered) :]]


def test_the_contents_have_a_page_for_each_claim():
    toc = yaml.safe_load((REPOSITORY / "book" / "_toc.yml").read_text("utf-8"))
    (chapter,) = [one for part in toc["parts"] for one in part["chapters"] if one["file"] == "executed/claims"]
    assert [section["file"] for section in chapter["sections"]] == [f"executed/claim-{n}" for n in claim_list.CLAIMS]
    assert toc["parts"][-1]["chapters"][-1]["file"] == "executed/review"
