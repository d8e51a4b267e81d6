"""The lab in a real browser: opened, clicked, typed into; nothing complains, nothing leaves the machine."""

import base64
import json
import time

import pytest

from downslope.runs.folder import write_history

from ..report.chromium import Chromium, find_chromium

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(find_chromium() is None, reason="no Chromium installed"),
]

# Three dimensions need WebGL, which Chromium computes itself where there is no graphics card.
WEBGL = ("--enable-unsafe-swiftshader", "--use-gl=angle", "--use-angle=swiftshader")
ABOUT_SPEED = ("GPU stall", "willReadFrequently")  # remarks of the browser on drawing without a card


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    chromium = Chromium(tmp_path_factory.mktemp("chromium"), *WEBGL)
    chromium.set_screen(1280)
    yield chromium
    chromium.close()


@pytest.fixture
def visit(browser, serve, runs):
    """`visit("/network")` opens a page of a lab; at the end nothing may have complained or left."""
    browser.events.clear()
    home = serve(runs)

    def go(path: str) -> None:
        browser.visit(home + path)
        browser.wait_for("!!document.querySelector('main h1')", seconds=60)

    yield go
    browser.evaluate("new Promise((done) => setTimeout(done, 200))")
    complaints = [line for line in browser.console() if not any(known in line for known in ABOUT_SPEED)]
    assert complaints == []
    asked = [url for url in browser.requested() if not url.startswith(("data:", "blob:", home + "/"))]
    assert asked == []
    browser.visit("about:blank")


def control(page, name, kind="control"):
    """Return JavaScript for a control: Dash's identities are JSON with the keys in order."""
    identity = json.dumps({"kind": kind, "name": name, "page": page}, separators=(",", ":"))
    return f"document.getElementById({identity!r})"


def type_into(browser, page, name, text):
    """Type as a person does: into the field, key by key."""
    browser.evaluate(f"{control(page, name)}.focus(); {control(page, name)}.select()")
    browser.call("Input.insertText", text=text)


def traces(name, role="path"):
    """Return JavaScript for the traces of a figure that have a role."""
    plot = f"document.querySelector('#picture-{name} .js-plotly-plot')"
    return f"(({plot} || {{}}).data || []).filter((one) => (one.meta || {{}}).role === {role!r})"


def click_on_map(browser, x, y):
    """Click the map at a place in its own units."""
    place = browser.evaluate(
        "(() => { const plot = document.querySelector('#picture-map .js-plotly-plot');"
        " plot.scrollIntoView({block: 'center'});"
        " const box = plot.getBoundingClientRect(), {xaxis, yaxis, _size} = plot._fullLayout;"
        f" return [box.left + _size.l + xaxis.l2p({x}), box.top + _size.t + yaxis.l2p({y})] }})()"
    )
    browser.click(*place)


@pytest.mark.slow
def test_a_descent_is_started_by_a_click_and_played(browser, visit):
    visit("/?surface=bowl&rule-2=none&rule-3=none&rate-1=0.1&starts=&steps=24")
    browser.wait_for(
        "document.querySelector('#valley-messages').textContent.includes('Click on the map')", 60
    )
    browser.wait_for("document.querySelectorAll('#picture-map .contourlayer path').length > 3")
    click_on_map(browser, 2.0, -1.0)
    browser.wait_for(f"{traces('map')}.length === 1", 60)
    path = browser.evaluate(f"{traces('map')}.map((one) => [one.x, one.y])")[0]
    assert len(path[0]) == 25
    assert path[0][0] == pytest.approx(2.0, abs=0.1)
    assert path[1][0] == pytest.approx(-1.0, abs=0.1)
    assert path[0][1] == pytest.approx(0.9 * path[0][0], rel=1e-3)
    browser.wait_for(f"{traces('surface')}.length === 1 && {traces('loss')}.length === 1")
    click_on_map(browser, -3.0, 2.0)
    browser.wait_for(f"{traces('map')}.length === 2")

    browser.evaluate("document.getElementById('valley-play').click()")
    browser.wait_for("document.getElementById('valley-play').textContent.includes('Pause')")
    browser.wait_for(f"{traces('map')}[0].x.length < 16")
    browser.evaluate("document.getElementById('valley-play').click()")
    browser.wait_for("document.getElementById('valley-play').textContent.includes('Play')")
    shown = "Number(document.getElementById('valley-step').value)"
    stopped_at = browser.evaluate(shown)
    browser.evaluate("new Promise((done) => setTimeout(done, 300))")
    assert browser.evaluate(shown) == stopped_at < 24
    browser.wait_for(f"{traces('map')}[0].x.length === {stopped_at} + 1")
    browser.wait_for(f"{traces('loss', 'head')}[0].x[0] === {stopped_at}")
    browser.evaluate("document.getElementById('valley-play').click()")
    browser.wait_for(f"{shown} === 24", 120)
    browser.wait_for("document.getElementById('valley-play').textContent.includes('Play')")


def test_a_bad_formula_is_explained_and_a_good_one_drawn(browser, visit):
    visit("/?surface=formula&formula=x%5E2&rule-2=none&rule-3=none")
    said = "document.querySelector('#valley-messages').textContent"
    browser.wait_for(f"{traces('map')}.length === 1 || {said} !== ''", 60)
    type_into(browser, "valley", "formula", "sinn(x) + y")
    browser.wait_for(f"{said}.includes(\"Did you mean 'sin'\")")
    type_into(browser, "valley", "formula", "<img src=x onerror=alert(1)>")
    browser.wait_for(f"{said}.includes('cannot be read')")
    type_into(browser, "valley", "formula", "cos(x) + (x^2 + y^2)/9")
    browser.wait_for(
        f"{said} === '' && document.querySelectorAll('#picture-map .contourlayer path').length > 3", 60
    )
    browser.wait_for("decodeURIComponent(location.search).includes('cos(x)')")


@pytest.mark.slow
def test_where_there_is_nothing_to_play_nothing_is_counted(browser, visit):
    visit("/?surface=formula&formula=sinn(x)&rule-2=none&rule-3=none&steps=20")
    said = "document.querySelector('#valley-messages').textContent"
    counted = "document.getElementById('valley-count').textContent"
    is_off = "document.getElementById('valley-play').disabled"
    browser.wait_for(f"{said}.includes(\"Did you mean 'sin'\")", 60)
    browser.wait_for(f"{counted} === ''")
    assert browser.evaluate(is_off)
    type_into(browser, "valley", "formula", "sin(x) + y^2")
    browser.wait_for(f"{counted} === 'step 20 of 20' && !{is_off}", 60)
    type_into(browser, "valley", "formula", "sinn(x)")
    browser.wait_for(f"{said} !== ''")
    assert browser.evaluate(f"[{counted}, {is_off}]") == ["step 20 of 20", False]  # the pictures stay
    browser.wait_for("location.search.includes('sinn')")
    browser.evaluate("document.getElementById('to-runs').click()")
    browser.wait_for("document.querySelector('h1').textContent === 'Look at your runs'")
    browser.evaluate("history.back()")
    browser.wait_for(f"document.getElementById('valley-play') && {said} !== '' && {counted} === ''", 60)
    assert browser.evaluate(is_off)
    type_into(browser, "valley", "formula", "sin(x) + y^2")
    browser.wait_for(f"{counted} === 'step 20 of 20' && !{is_off}")
    browser.evaluate("document.getElementById('valley-clear').click()")
    browser.wait_for(f"{said}.includes('Click on the map') && {counted} === '' && {is_off}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("address", "says"),
    [("/network/?data=bogus", "got ‘bogus’"), ("/?surface=%3Cb%3Ebowls", "There is no surface '<b>bowls'")],
)
def test_an_unknown_word_of_an_address_is_named(browser, visit, address, says):
    visit(address)
    said = "document.querySelector('.messages').textContent"
    browser.wait_for(f"{said}.includes({says!r})", 60)
    browser.evaluate("new Promise((done) => setTimeout(done, 1000))")  # a menu drops what it does not hold
    assert says in browser.evaluate(said)


@pytest.mark.slow
def test_a_slider_a_field_and_the_address_hold_the_same_number(browser, visit):
    visit("/?surface=bowl&rate-1=0.1&rule-2=none&rule-3=none&steps=9")
    browser.wait_for(f"{traces('map')}.length === 1", 60)
    slider = control("valley", "rate-1", "log-slider")
    browser.wait_for(f"Math.abs(Number({slider}.value) + 1) < 0.03")
    browser.evaluate(
        "((slider) => { const value = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value');"
        " value.set.call(slider, '0');"
        f" slider.dispatchEvent(new Event('input', {{bubbles: true}})) }})({slider})"
    )
    browser.wait_for(f"{control('valley', 'rate-1')}.value === '1'")
    browser.wait_for("location.search.includes('rate-1=1&')")
    browser.wait_for(f"Math.abs({traces('map')}[0].x[1]) < 1e-6")  # at 1 the bowl's bottom is one step away
    type_into(browser, "valley", "rate-1", "0.01")
    browser.wait_for(f"Number({slider}.value) === -2")


@pytest.mark.slow
def test_the_page_answers_a_change_within_300_milliseconds(browser, visit):
    visit("/?surface=bowl&rule-2=none&rule-3=none&starts=1,1&steps=50")
    browser.wait_for(f"{traces('map')}.length === 1", 60)
    milliseconds = []
    for place in range(120):  # the best of many: other tests may be using the same cores
        rate = f"{0.1 + 0.005 * place:.3f}"
        expected = 1 - float(rate)
        milliseconds.append(
            browser.evaluate(
                "new Promise((done) => { const began = performance.now();"
                " const field = {kind: 'control', name: 'rate-1', page: 'valley'};"
                f" dash_clientside.set_props(field, {{value: '{rate}'}});"
                f" (function look() {{ const path = {traces('map')}[0];"
                f" path && Math.abs(path.x[1] - {expected}) < 1e-4"
                " ? done(performance.now() - began) : requestAnimationFrame(look) })() })"
            )
        )
        if milliseconds[-1] < 300:
            break
    assert min(milliseconds) < 300


@pytest.mark.slow
def test_a_network_learns_while_it_plays(browser, visit):
    visit("/network?data=circles&hidden=4&batch=32")
    counted = "document.getElementById('network-count').textContent"
    browser.wait_for(f"{counted}.startsWith('step 0 ')", 60)
    browser.wait_for("document.querySelectorAll('#picture-weights .scatterlayer path').length > 10")
    press = "document.getElementById('network-{}').click()"
    browser.evaluate(press.format("once"))
    browser.wait_for(f"{counted}.startsWith('step 1 ')")
    browser.evaluate(press.format("play"))
    browser.wait_for("document.getElementById('network-play').textContent.includes('Pause')")
    browser.wait_for(f"Number({counted}.split(' ')[1]) >= 26", 60)
    browser.evaluate(press.format("play"))
    browser.wait_for("document.getElementById('network-play').textContent.includes('Play')")
    browser.evaluate("new Promise((done) => setTimeout(done, 500))")
    stopped_at = browser.evaluate(counted)
    browser.evaluate("new Promise((done) => setTimeout(done, 500))")
    assert browser.evaluate(counted) == stopped_at
    browser.wait_for(f"location.search.includes('step=' + {counted}.split(' ')[1])")
    browser.evaluate(press.format("restart"))
    browser.wait_for(f"{counted}.startsWith('step 0 ')")
    type_into(browser, "network", "rate", "-1")
    browser.wait_for(
        "document.querySelector('#network-messages').textContent.includes('The learning rate must be')"
    )


def test_a_csv_of_ones_own_is_learned(browser, visit):
    visit("/network?data=csv")
    browser.wait_for("document.querySelector('#network-messages').textContent.includes('CSV')", 60)
    rows = "\n".join(f"{n},{n * n % 17},{'<b>a</b>' if n % 2 else 'b'}" for n in range(60))
    contents = base64.b64encode(f"<i>x</i>,y,kind\n{rows}\n".encode()).decode()
    sent = {"contents": f"data:text/csv;base64,{contents}", "filename": "my.csv"}
    browser.evaluate(f"dash_clientside.set_props('network-upload', {json.dumps(sent)})")
    browser.wait_for("document.getElementById('network-file').textContent === 'my.csv: 60 rows'")
    browser.wait_for("document.getElementById('network-count').textContent.startsWith('step 0 ')", 60)
    browser.wait_for("(document.querySelector('#picture-boundary .xtitle') || {}).textContent === '<i>x</i>'")
    assert browser.evaluate("document.querySelectorAll('main i, main b:not(.x)').length") == 0


def grow(folder, epochs):
    write_history(
        folder,
        [
            {"epoch": n, "step": n, "train_loss": 1 / n, "validation_loss": 1 / n}
            for n in range(1, epochs + 1)
        ],
    )


def test_a_run_grows_on_the_page_while_it_trains(browser, visit, runs):
    name = "<img src=x onerror='window.hacked = 1'>"
    for folder in (runs / "a", runs / name):
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"data": "digits", "target": name, "epochs": 9}))
        grow(folder, 2)
    (runs / "a" / "report.html").write_text(
        "<!doctype html><title>t</title><p id=p>the report<script>1</script>"
    )
    visit("/runs")
    browser.wait_for("document.querySelectorAll('#picture-curves .scatterlayer .trace').length === 2", 60)
    assert name in browser.evaluate("document.querySelector('#runs-table').textContent")
    assert name[:20] in browser.evaluate("document.querySelector('#picture-curves .legend').textContent")
    time.sleep(0.05)
    grow(runs / "a", 5)
    curve = "document.querySelector('#picture-curves .js-plotly-plot').data.find((one) => one.name === 'a')"
    browser.wait_for(f"{curve}.x.length === 5")
    assert "5 of 9 epochs" in browser.evaluate("document.querySelector('#runs-table').textContent")
    assert browser.evaluate("window.hacked") is None
    address = browser.evaluate("document.querySelector('#runs-table a').href")
    browser.visit(address)
    assert browser.evaluate("document.getElementById('p').textContent") == "the report1"
    assert browser.evaluate("self.origin") == "null"


def test_pages_are_changed_and_come_back_as_they_were(browser, visit):
    visit("/?surface=curve&rule-2=none&rule-3=none&steps=20")
    browser.wait_for(f"{traces('map')}.length === 1", 60)
    browser.evaluate("document.getElementById('to-network').click()")
    browser.wait_for("document.querySelector('h1').textContent === 'Watch a network learn'")
    browser.wait_for("document.querySelector('nav [aria-current]').textContent === 'Network'")
    assert browser.evaluate("document.title") == "Network · Downslope lab"
    browser.evaluate("history.back()")
    browser.wait_for("document.querySelector('h1').textContent === 'Roll down a valley'")
    browser.wait_for(f"{traces('map')}.length === 1 && {traces('map')}[0].x.length === 21", 60)


@pytest.mark.slow
def test_everything_can_be_reached_by_keyboard(browser, visit):
    visit("/network?data=csv")
    browser.wait_for("document.querySelector('#network-messages').textContent.includes('CSV')", 60)
    browser.wait_for(f"!!document.getElementById('network-choose') && !!{control('network', 'label')}")
    reached = []
    browser.evaluate("document.activeElement.blur()")
    for _ in range(45):
        browser.press("Tab", 9)
        found = browser.evaluate(
            "((at) => at.id + ' ' + at.textContent.slice(0, 30) + ' ' + at.tagName)(document.activeElement)"
        )
        if found in reached:
            break
        reached.append(found)
    text = "\n".join(reached)
    dials = ("data", "hidden", "rule", "rate", "batch", "label", "step")
    buttons = ("network-choose", "network-play", "network-once", "network-restart")
    for part in (
        "Skip to",
        "to-valley",
        "to-runs",
        '"log-slider"',
        *(f'"{name}"' for name in dials),
        *buttons,
    ):
        assert part in text, text
    browser.evaluate("document.getElementById('to-valley').focus()")
    browser.press("Enter", 13, "\r")
    browser.wait_for("document.querySelector('h1').textContent === 'Roll down a valley'")


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/?surface=bowl", "/network", "/runs"])
def test_on_a_phone_nothing_scrolls_sideways(browser, visit, path):
    browser.set_screen(390, 844, dark=True, phone=True)
    visit(path)
    browser.wait_for("document.querySelectorAll('.js-plotly-plot .main-svg').length > 0", 60)
    browser.evaluate("new Promise((done) => setTimeout(done, 600))")
    assert browser.evaluate("document.documentElement.scrollWidth") == 390
    background = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    browser.set_screen(1280)
    assert background == "rgb(20, 23, 27)"


def test_a_screen_reader_hears_what_a_menu_is_for(browser, visit):
    visit("/network")
    menu = control("network", "activation")
    browser.wait_for(f"{menu}?.getAttribute('aria-labelledby')")
    named_by = browser.evaluate(f"{menu}.getAttribute('aria-labelledby')").split()
    heard = [browser.evaluate(f"document.getElementById('{name}')?.textContent") for name in named_by]
    assert [words for words in heard if words] == ["Activation", "tanh"]
