"""A look at pages in headless Chromium: what it writes to its console, and how wide they are.

One browser shows all pages, each in a frame of the asked width; frames and what they say come from
a server of this process, so nothing else is reached.
"""

import json
import re
import shutil
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--enable-logging=stderr",
]
LONGEST_S = 600

PROBE = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><body><script>
const found = []
async function look(page, width) {
  const frame = document.createElement("iframe")
  Object.assign(frame.style, {width: width + "px", height: "900px", border: "0"})
  const loaded = new Promise(done => { frame.onload = done })
  frame.src = page
  document.body.append(frame)
  await loaded
  await new Promise(done => setTimeout(done, 50))
  const whole = frame.contentDocument.documentElement
  found.push({page, width, wide: whole.scrollWidth, text: whole.innerText.length})
  frame.remove()
}
async function all(asked) {
  for (const [page, width] of asked) await look(page, width)
  await fetch("/found", {method: "POST", body: JSON.stringify(found)})
}
all(ASKED)
</script>"""


@dataclass(frozen=True)
class Look:
    """What a page looked like.

    Args:
        page: Path below the folder.
        width: Of the window, in pixels.
        wide: Of the page.
        text: Number of characters that are shown.
    """

    page: str
    width: int
    wide: int
    text: int


def looked_at(folder, pages, widths):
    """Each page at each width, and all that they wrote to the console."""
    asked = [(page, width) for page in pages for width in widths]
    server = _Server(folder, PROBE.replace("ASKED", json.dumps(asked)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/probe"
    with tempfile.TemporaryDirectory() as profile, tempfile.TemporaryFile() as log:
        command = [CHROMIUM, *OPTIONS, f"--user-data-dir={profile}", "--remote-debugging-port=0"]
        browser = subprocess.Popen([*command, address], stdout=log, stderr=log)
        try:
            assert server.done.wait(LONGEST_S), f"not all pages were shown in {LONGEST_S} s"
        finally:
            browser.kill()
            browser.wait()
            server.shutdown()
            server.server_close()
        log.seek(0)
        written = log.read().decode(errors="replace")
    return [Look(**each) for each in server.found], re.findall(r":CONSOLE.*", written)


class _Server(ThreadingHTTPServer):
    def __init__(self, folder, probe):
        super().__init__(("127.0.0.1", 0), partial(_Handler, directory=folder))
        self.probe, self.found, self.done = probe.encode(), [], threading.Event()


class _Handler(SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path != "/probe":
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(self.server.probe)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.found = json.loads(body)
        self.send_response(204)
        self.end_headers()
        self.server.done.set()

    def log_message(self, *_):
        """Nothing: what is asked for is no news."""
