"""What the explorer keeps while it is moved: its address, where the first Tab leads, its scales."""

import pytest

from efcnbook.explorer import page
from explored import ready

STATE = "document.querySelector('.efcn-explorer').efcnExplorer.state()"


@pytest.fixture(scope="module")
def results(trained):
    return trained


def test_what_is_looked_at_stands_in_the_address_and_is_shared(visit, results):
    tab = ready(visit())
    tab.get_by_role("slider", name="Relax time").press("End")
    tab.get_by_role("slider", name="Training").press("Home")
    state = tab.evaluate(STATE)
    assert tab.url.endswith("#explore?study=digits&seed=0&tw=6&epoch=0")
    tab.get_by_role("button", name="Share this view").click()
    tab.get_by_role("status").get_by_text("address").wait_for()
    tab.reload()
    assert tab.evaluate(STATE) == state


def test_the_first_tab_leads_to_the_first_slider(visit, packs):
    tab = visit(content='<a href="#x">before</a>' + page.html(packs))
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.getAttribute('id')").endswith("-tw")


def test_the_scale_stays_when_the_relax_time_moves(visit, results):
    tab, written = ready(visit()), []
    tw = tab.get_by_role("slider", name="Relax time")
    tw.press("Home")
    for _ in results.study.relax_times:
        written.append(tab.locator(".efcn-course .efcn-base text.efcn-end").all_inner_texts())
        tw.press("ArrowRight")
    assert written[0] == written[1] == written[2]


def test_means_over_seeds_come_first_with_bands_and_their_pictures_are_of_one(visit, results):
    tab = visit()
    assert tab.get_by_label("Seed").input_value() == "mean"
    assert tab.locator(".efcn-course .efcn-band").count() >= 2
    assert tab.locator(".efcn-dynamics .efcn-band").count() == 1
    tab.get_by_text("Seed 0, tw = 2, after 5 epochs.").wait_for()
    tab.get_by_label("Seed").select_option("0")
    assert tab.locator(".efcn-band").count() == 0
