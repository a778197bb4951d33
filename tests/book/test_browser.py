"""The browser harness: it sees what goes wrong in a page, and lets a page reach nothing but this machine."""

import http.server
import threading

import pytest

from browser import SCROLL_WIDTH, barriers, opened


@pytest.fixture
def server():
    """Address of a page on this machine, which has nothing else to give."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/" else 404)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><link rel=icon href=data:,><title>here</title><p style=width:999px>here")

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}/"
        running.shutdown()


def test_this_machine_is_reached_and_a_good_page_has_no_troubles(browser, server):
    with opened(browser, 390) as (tab, troubles):
        tab.goto(server, wait_until="networkidle")
        assert (tab.title(), troubles) == ("here", [])
        assert tab.evaluate(SCROLL_WIDTH) > 390


@pytest.mark.parametrize(
    ("script", "trouble"),
    [
        ("console.error('bad')", "console: bad"),
        ("setTimeout(() => { throw Error('thrown') })", "exception: thrown"),
        ("fetch('/nowhere')", "answer 404: "),
        ("document.body.append(Object.assign(new Image(), {src: 'http://example.org/a.png'}))", "asked another host: "),
        ("document.body.append(Object.assign(new Image(), {src: 'http://192.0.2.1/a.png'}))", "failed: "),
    ],
)
def test_troubles_are_seen(script, trouble, browser, server):
    with opened(browser) as (tab, troubles):
        tab.goto(server)
        tab.evaluate(f"() => {{ {script} }}")
        tab.wait_for_load_state("networkidle")
        tab.wait_for_timeout(200)
        assert any(line.startswith(trouble) for line in troubles), troubles


def test_the_audit_names_rule_and_element(browser, axe, server):
    with opened(browser) as (tab, _):
        tab.goto(server)
        assert [line.split(": ")[0] for line in barriers(tab, axe)] == ["html-has-lang (serious)"]
        tab.evaluate("() => { document.documentElement.lang = 'en' }")
        assert barriers(tab, axe) == []
        grey = "document.body.insertAdjacentHTML('beforeend', '<p id=pale style=color:#ccc;background:#fff>pale</p>')"
        tab.evaluate(grey)
        (line,) = barriers(tab, axe)
        assert line.startswith("color-contrast (serious): #pale: Element has insufficient color contrast of 1.6")
