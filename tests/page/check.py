"""What a reader of the status page sees: figures in every part, in both schemes and at two widths; and what it says when
Redis, the database and the service go away. To be run by tests/page/run."""

import json
import os
import re
import signal
import subprocess
import time

from browser import Browser
from load import Load

OPS = os.environ["DGM_OPS"]
SERVICE = int(os.environ["DGM_SERVER_PID"])
REDIS = int(os.environ["PAGE_REDIS_PID"])
SECONDS = float(os.environ.get("PAGE_SECONDS", "20"))
PICTURES = os.environ.get("PAGE_PICTURES")

# Part of the page, the figures in it at least.
PARTS = {"signals": 8, "routes": 40, "database": 30, "cache": 12, "queue": 7, "partitions": 8, "jobs": 14, "build": 4}
STATE = "document.querySelector('#verdict').dataset.state"
TEXT = "document.body.innerText"

# Every text that is seen, against the colour behind it (WCAG 1.4.3): those below 4.5 to 1, large ones below 3 to 1.
CONTRAST = """(() => {
  const parts = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (color) => {
    const [r, g, b] = parts(color).map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const color = getComputedStyle(node).backgroundColor;
      if (parts(color)[3] !== 0) return color;
    }
    throw new Error("nothing behind");
  };
  const poor = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let seen = 0;
  while (walk.nextNode()) {
    const node = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !node.checkVisibility() || node.closest("noscript, script")) continue;
    seen += 1;
    const { color, fontSize } = getComputedStyle(node);
    const [one, other] = [light(color), light(behind(node))].sort((a, b) => b - a);
    const ratio = (one + 0.05) / (other + 0.05);
    if (ratio < (parseFloat(fontSize) >= 24 ? 3 : 4.5)) poor.push([walk.currentNode.data, ratio.toFixed(2)]);
  }
  return { seen, poor };
})()"""


def check(condition, words):
    if not condition:
        raise SystemExit(f"page: {words}")


def no_nonsense(page):
    text = page.evaluate(TEXT)
    found = re.search(r".*\b(NaN|undefined|null|Infinity|\[object)\b.*", text)
    check(not found, f"nonsense: {found and found.group()!r}")
    check(not page.complaints, f"the console says {page.complaints}")


def figures(page):
    for part, least in PARTS.items():
        seen = page.evaluate(f"""[...document.querySelectorAll('#{part} :is(td, dd, article p)')]
            .filter((node) => node.checkVisibility() && /\\d/.test(node.textContent)).length""")
        check(seen >= least, f"{part} has {seen} figures, not {least}:\n{page.evaluate(TEXT)}")
    check(page.evaluate("document.querySelectorAll('path.line[d*=L]').length") == 4, "a line is not drawn")


def looks(page):
    for width, scheme in [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark"), (360, "light"), (768, "dark")]:
        page.resize(width, 900)
        page.scheme(scheme)
        time.sleep(0.6)  # Colours move for 0.3 s.
        wide = page.evaluate("document.documentElement.scrollWidth")
        check(wide <= width, f"at {width} px it is {wide} px wide")
        contrast = page.evaluate(CONTRAST)
        check(contrast["seen"] > 150, f"only {contrast['seen']} texts")
        check(not contrast["poor"], f"{scheme}: contrast is poor: {contrast['poor']}")
        no_nonsense(page)
        if PICTURES and width == 1280:
            page.screenshot(f"{PICTURES}/status-{scheme}.png", "#database")
    page.resize(1280, 900)


def accessible(page):
    check(page.evaluate("[...document.querySelectorAll('[aria-live]')].map((n) => n.id).join()") == "verdict", "aria-live")
    bare = page.evaluate("[...document.querySelectorAll('table')].filter((t) => !t.querySelector('thead th[scope=col]') "
                         "|| !t.querySelector('tbody th[scope=row]')).length")
    check(bare == 0, f"{bare} tables without headers")
    page.evaluate("document.querySelector('#pause').click()")
    before = page.evaluate("document.querySelector('#clock').textContent")
    time.sleep(5)
    check(page.evaluate("document.querySelector('#clock').textContent") == before, "it goes on while it is paused")
    page.evaluate("document.querySelector('#pause').click()")
    page.until("it goes on", f"document.querySelector('#clock').textContent !== {json.dumps(before)}", 10)


def says(page, state, words, seconds):
    seen = f"{STATE} === {json.dumps(state)} && document.querySelector('#verdict').innerText.includes({json.dumps(words)})"
    page.until(f"verdict {state}: {words}", seen, seconds)
    print("page:", page.evaluate("document.querySelector('#verdict').innerText").replace("\n", " "))


def main():
    with Browser() as page:
        # Nobody asks anything: most is not known, and nothing is wrong.
        page.open(f"{OPS}/", 1280, 900)
        page.until("the first figures", f"{STATE} !== 'waiting'", 20)
        no_nonsense(page)
        page.until("no requests", f"{TEXT}.includes('No requests in the last 30 s')", 20)
        says(page, "ok", "within its bounds", 1)
        no_nonsense(page)
        with Load(os.environ["DGM_API"]):
            time.sleep(SECONDS)
            figures(page)
            says(page, "ok", "within its bounds", 30)
            looks(page)
            accessible(page)

            os.kill(REDIS, signal.SIGSTOP)
            says(page, "degraded", "Redis does not answer", 30)
            os.kill(REDIS, signal.SIGCONT)
            says(page, "ok", "within its bounds", 60)
            check(not page.complaints, f"the console says {page.complaints}")

        folder = subprocess.check_output(["psql", "-XAtqc", "SHOW data_directory", os.environ["DATABASE_URL"]], text=True)
        with open(f"{folder.strip()}/postmaster.pid") as file:
            os.kill(int(file.readline()), signal.SIGQUIT)
        says(page, "failing", "the database cannot be asked", 30)
        os.kill(SERVICE, signal.SIGKILL)
        says(page, "failing", "The service does not answer", 30)
    print("page: well")


main()
