"""`promptport app` as users see it: a real browser, with keys, on wide and narrow screens."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
import torch
from tests.hub import HubServer, serving

pytest.importorskip("nicegui", reason="NiceGUI is not installed: pip install 'promptport[app]'")
sync_api = pytest.importorskip(
    "playwright.sync_api", reason="Playwright is not installed: pip install playwright"
)

from promptport.backbone import Backbone  # noqa: E402
from promptport.storage import load_prompt, save_prompt  # noqa: E402
from promptport.tasks import open_task  # noqa: E402
from promptport.tuning.baselines import random_prompt  # noqa: E402

CHROMIUM = Path("/usr/bin/chromium")
EVIL = '<img src=x onerror="document.title=1">'
NAMES = ("warm", "news", EVIL)
PATIENCE = 300_000  # milliseconds: two busy cores load models slowly

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no browser: {CHROMIUM} is not there"),
]


def address(path: str, **asked) -> str:
    return f"{path}?{urlencode(asked, doseq=True)}"


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("page") / "lib"
    model = Backbone.load("nano-bert", device="cpu", dtype="float32")
    start = random_prompt(model, 3, 9).vectors
    for seed, (name, task) in enumerate(
        {"warm": "sentiment", "news": "topic", EVIL: "sentiment", "mood": "emotion"}.items()
    ):
        curve = [[1, 0.9, 0.8, 0.5], [2, 0.5, 0.6, 0.75]]
        prompt = random_prompt(model, 3, seed).with_provenance(
            task=task,
            template=open_task(task).template.text,
            tuning={"dev_score": 0.75, "dev_rows": 64, "metric": "accuracy", "curve": curve},
            history=({"step": "import", "source": EVIL},),
        )
        moved = start + 0.2 * (prompt.vectors - start)
        save_prompt(type(prompt)(moved, prompt.provenance, start), place / name)
    (place / "broken").mkdir()
    (place / "broken" / "adapter_config.json").write_text("{")
    return place


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> Iterator[HubServer]:
    with serving(tmp_path_factory.mktemp("hub")) as made:
        yield made


@pytest.fixture(scope="module")
def server(library, hub, tmp_path_factory) -> Iterator[str]:
    command = [sys.executable, "-m", "promptport", "app", str(library), "--port", "0"]
    cache = str(tmp_path_factory.mktemp("cache"))
    own = {"HF_ENDPOINT": hub.url, "HF_TOKEN": hub.token, "HF_HUB_CACHE": cache}
    environment = {**os.environ, **own, "HF_HUB_OFFLINE": "0", "NO_PROXY": "127.0.0.1"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        said = ""
        while not (found := re.search(r"Open (http://\S+) in", said)):
            line = process.stderr.readline()
            assert line, said
            said += line
        own = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        yield found[1]
        workers = own.read_text().split() if own.exists() else []
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "Traceback" not in said + rest, rest
        assert not [pid for pid in workers if Path(f"/proc/{pid}/cmdline").exists()]


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        made = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield made
        made.close()


@pytest.fixture
def page(browser, server):
    """A page that fails the test if anything of it is code, or an error is in its console."""
    context = browser.new_context(base_url=server, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE)
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
    opened.on("request", lambda r: None if r.url.startswith(server) else wrong.append(r.url))
    yield opened
    assert opened.locator("#content img").count() == 0
    context.close()
    assert [line for line in wrong if not line.startswith("data:")] == []


def choose(page, field, option) -> None:
    page.get_by_role("combobox", name=field).click()
    page.get_by_role("option", name=option).first.click()


def test_the_library_is_searched_filtered_and_names_are_text(page) -> None:
    page.goto("/")
    assert page.get_by_role("link", name=EVIL, exact=True).count() == 1
    assert page.get_by_text("broken: ").count() == 1
    assert page.get_by_role("rowheader").count() == 4
    page.get_by_label("Search names").fill("topic")
    sync_api.expect(page.get_by_role("rowheader")).to_have_count(1)
    assert page.get_by_role("rowheader").inner_text() == "news"
    page.reload()  # what was searched stands in the address
    sync_api.expect(page.get_by_role("rowheader")).to_have_text(["news"])
    page.get_by_label("Search names").fill("")
    choose(page, "Task", "sentiment")
    sync_api.expect(page.get_by_role("rowheader")).to_have_count(2)
    page.get_by_role("button", name="Sort by name").click()
    sync_api.expect(page.get_by_role("rowheader").first).to_have_text(EVIL)


def test_prompts_are_chosen_and_tried_with_the_keyboard_alone(page) -> None:
    page.goto("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    for name in ("warm", EVIL):
        page.get_by_role("checkbox", name=f"Choose {name}", exact=True).focus()
        page.keyboard.press("Space")
    page.get_by_role("link", name="Try", exact=True).last.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/try?**")
    page.get_by_role("textbox", name="text", exact=True).fill("A warm <b>film</b> .")
    page.keyboard.press("Control+Enter")
    page.get_by_text(re.compile("^Done")).wait_for()
    rows = page.get_by_role("rowheader")
    assert rows.all_inner_texts() == ["warm", EVIL]
    shares = page.locator(".pp-shares .pp-number").all_inner_texts()
    assert sum(float(share.rstrip("%")) for share in shares) == pytest.approx(200, abs=0.3)
    before = page.locator("main, .q-page").last.inner_text()
    page.reload()
    page.get_by_text(re.compile("^Done")).wait_for()
    assert page.locator(".pp-shares .pp-number").all_inner_texts() == shares
    assert page.get_by_role("textbox", name="text", exact=True).input_value() in before


def test_a_prompts_page_tells_all_of_it(page) -> None:
    page.goto(address("/prompt", name=EVIL))
    assert page.title() == f"{EVIL} - promptport"
    assert page.get_by_role("heading", level=1).inner_text() == EVIL
    assert page.get_by_text("0.75 (0.63 to 0.84), accuracy on 64 dev rows").count() == 1
    assert page.get_by_text(f"Its rows were read from the file {EVIL}.").count() == 1
    assert "dev loss 0.80 to 0.60" in page.get_by_role("img").first.get_attribute("aria-label")
    page.get_by_role("table", name="Virtual tokens").wait_for()
    similar = page.get_by_role("table", name="Similar prompts, the nearest first")
    similar.wait_for()
    assert sorted(similar.get_by_role("rowheader").all_inner_texts()) == ["mood", "news", "warm"]


def test_cosines_and_a_forecast(page) -> None:
    page.goto(address("/compare", p=NAMES))
    page.locator(".pp-heat").wait_for()
    assert page.locator(".pp-heat td").count() == 9
    assert page.locator(".pp-heat td").first.inner_text() == "1.00"
    page.get_by_role("button", name="Forecast").click()
    table = page.get_by_role("table", name="Forecast of the sum")
    table.wait_for()
    assert table.get_by_role("rowheader").all_inner_texts() == ["warm", "news"]
    page.reload()
    page.get_by_role("table", name="Forecast of the sum").wait_for()


def test_coefficients_are_set_by_keys_and_a_sum_is_scored_and_kept(page, library) -> None:
    page.goto(address("/combine", p=["warm", EVIL]))
    page.get_by_text("Scored in").wait_for()
    slider = page.get_by_role("slider", name=f"Coefficient of {EVIL}", exact=True)
    slider.focus()
    for _ in range(20):
        page.keyboard.press("ArrowLeft")
    number = page.get_by_role("spinbutton", name=f"Coefficient of {EVIL} as a number")
    sync_api.expect(number).to_have_value("0.00")
    page.wait_for_timeout(600)
    page.get_by_text("Scored in").wait_for()
    cells = page.get_by_role("table", name="Scores of the sum").get_by_role("cell")
    sync_api.expect(cells.nth(1)).to_have_text(cells.nth(0).inner_text())
    number.fill("-0.5")
    sync_api.expect(slider).to_have_value("-0.5")
    page.get_by_label("Name of the new prompt").fill("made-here")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_role("link", name="made-here").wait_for()
    warm, evil, made = (load_prompt(library / name) for name in ("warm", EVIL, "made-here"))
    wanted = warm.vectors - 0.5 * (evil.vectors - evil.origin)
    assert torch.allclose(made.vectors, wanted, atol=1e-5)
    page.get_by_role("link", name="made-here").click()
    page.get_by_text("Coefficients").or_(page.get_by_text("Combined:")).first.wait_for()


def test_a_move_survives_a_reload_can_be_cancelled_and_ends_with_a_report(page, library) -> None:
    def start(name) -> None:
        page.goto(address("/move", p="warm"))
        choose(page, "Model to move to", "nano-gpt2")
        choose(page, "Effort", "a first look")
        page.get_by_label("Name of the new prompt").fill(name)
        page.get_by_role("button", name="Move", exact=True).click()

    start("never")
    state = page.locator(".pp-state").first
    sync_api.expect(state).to_contain_text("Running")
    page.reload()
    sync_api.expect(page.locator(".pp-state").first).to_contain_text("Running")
    page.goto("/jobs")
    page.get_by_role("button", name="Cancel: Move warm to nano-gpt2").click()
    sync_api.expect(page.locator(".pp-state").first).to_contain_text("Cancelled")
    assert not (library / "never").exists()
    start("moved-here")
    page.get_by_role("link", name="moved-here").wait_for()
    assert page.get_by_text("expected score").count() == 1
    assert page.get_by_text("How far to trust it").count() == 1
    assert load_prompt(library / "moved-here").provenance.backbone == "nano-gpt2"
    page.get_by_label("Name of the new prompt").fill("../out")
    page.get_by_role("button", name="Move", exact=True).click()
    page.get_by_role("alert").first.wait_for()
    assert not (library.parent / "out").exists()


def test_a_prompt_is_tagged_removed_and_brought_back(page, library) -> None:
    page.goto(address("/prompt", name="mood"))
    page.get_by_label("New tag").fill("<b>best</b>")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Take the tag <b>best</b> away").wait_for()
    page.get_by_label("New tag").fill("a, b")
    page.keyboard.press("Enter")
    page.get_by_text("expected").first.wait_for()
    page.goto("/")
    assert page.locator(".pp-chip").all_inner_texts() == ["<b>best</b>"]
    page.goto(address("/prompt", name="mood"))
    page.get_by_role("button", name="Take the tag <b>best</b> away").click()
    page.get_by_text("No longer tagged").wait_for()
    assert not (library / "mood" / "tags.json").exists()
    page.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    assert (library / "mood").is_dir()
    page.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    page.get_by_role("button", name="Bring mood back").click()
    page.get_by_role("link", name="mood", exact=True).wait_for()
    sync_api.expect(page.get_by_role("button", name="Bring mood back")).to_have_count(0)
    assert load_prompt(library / "mood").length == 3


def test_a_prompt_goes_to_the_hub_and_comes_back(page, library, hub) -> None:
    page.goto(address("/hub", p="warm"))
    page.get_by_label("Repository to send to").fill("ann/warm")
    page.get_by_role("button", name="Look first").click()
    page.get_by_text("Nothing was sent yet.").wait_for()
    page.get_by_text("The model card").click()
    assert "base_model" in page.locator(".pp-card-text").inner_text()
    assert hub.repositories == {}
    page.get_by_role("button", name="Send", exact=True).click()
    page.get_by_text(f"Sent: {hub.url}/ann/warm").wait_for()
    page.get_by_label("Repository to get").fill("ann/warm")
    page.get_by_role("button", name="Get", exact=True).click()
    page.get_by_role("link", name="warm-2").wait_for()
    assert torch.equal(
        load_prompt(library / "warm-2").vectors, load_prompt(library / "warm").vectors
    )
    page.get_by_label("Repository to get").fill("ann/none")
    page.get_by_label("Name of the new prompt").fill("none")
    page.get_by_role("button", name="Get", exact=True).click()
    page.get_by_role("alert").first.wait_for()
    assert not (library / "none").exists()


PAGES = {
    "/": {},
    "/prompt": {"name": EVIL},
    "/try": {"p": NAMES},
    "/compare": {"p": NAMES},
    "/move": {"p": EVIL},
    "/combine": {"p": NAMES},
    "/hub": {"p": EVIL},
    "/jobs": {},
}
UNNAMED = """
[...document.querySelectorAll('a, button, input, textarea, select, [role=combobox]')].filter(e =>
  e.offsetParent && !(e.getAttribute('aria-label') || e.textContent.trim() ||
  (e.labels && [...e.labels].some(l => l.textContent.trim())))).map(e => e.outerHTML.slice(0, 200))
"""


@pytest.mark.parametrize("path", PAGES)
def test_on_a_narrow_dark_screen_nothing_sticks_out_and_all_has_names(page, path) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme="dark")
    page.goto(address(path, **PAGES[path]))
    page.wait_for_timeout(2000)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate(UNNAMED) == []
    assert page.get_by_role("heading", level=1).count() == 1
    assert page.locator("main").count() == 1
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, re.findall(r"\d+", back)[:3])) < 150


def test_the_colours_can_be_chosen_and_stay(page) -> None:
    page.goto("/")
    page.get_by_role("button", name="Colours as the system has them").click()
    page.locator("body.body--dark").wait_for()
    page.goto("/jobs")
    page.locator("body.body--dark").wait_for()
    page.get_by_role("button", name="Dark colours").click()
    page.get_by_role("button", name="Light colours").click()
    page.get_by_role("button", name="Colours as the system has them").wait_for()


def test_what_is_not_there_is_a_line(page) -> None:
    page.goto(address("/prompt", name="<b>none</b>"))
    assert page.get_by_role("alert").inner_text().startswith("library: expected the name of one")
    page.goto(address("/try", p="warn"))
    assert "Did you mean 'warm'?" in page.get_by_role("alert").inner_text()
