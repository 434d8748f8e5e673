"""A headless Chromium, driven by its DevTools protocol over a pipe: nothing but the standard library."""

import base64
import json
import os
import subprocess
import tempfile
import time


class Browser:
    """One browser with one page; ended by `with`."""

    def __init__(self):
        self.complaints = []
        self._next = 0

    def __enter__(self):
        self._home = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        flags = [
            "--headless=new", "--remote-debugging-pipe", f"--user-data-dir={self._home.name}", "--no-first-run",
            # The only page that it sees is ours, and in containers there is no sandbox to be had.
            "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars", "--disable-extensions",
        ]
        # The protocol is spoken over descriptors 3 and 4.
        start = f'exec chromium "$@" 3<&{theirs_in} 4>&{theirs_out}'
        with open(os.path.join(self._home.name, "log"), "w") as log:
            self._process = subprocess.Popen(
                ["bash", "-c", start, "chromium", *flags], pass_fds=(theirs_in, theirs_out), stdout=log, stderr=log
            )
        os.close(theirs_in)
        os.close(theirs_out)
        self._rest = b""
        self._session = None
        page = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)
        self._home.cleanup()

    def _read(self):
        while b"\0" not in self._rest:
            more = os.read(self._in, 1 << 20)
            if not more:
                raise SystemExit(f"page: chromium ended\n{open(os.path.join(self._home.name, 'log')).read()}")
            self._rest += more
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, **parameters):
        """Calls a method of the protocol; what the page complains of meanwhile is kept."""
        self._next += 1
        message = {"id": self._next, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._next:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            event, said = answer.get("method"), answer.get("params", {})
            if event == "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(said["exceptionDetails"]))
            elif event == "Runtime.consoleAPICalled":
                self.complaints.append(json.dumps(said["args"]))
            elif event == "Log.entryAdded":
                self.complaints.append(f"{said['entry']['source']}: {said['entry']['text']}")

    def evaluate(self, expression):
        """The value of an expression of JavaScript, awaited."""
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {json.dumps(result['exceptionDetails'])}")
        return result["result"].get("value")

    def until(self, what, expression, seconds):
        """Waits until an expression is true."""
        deadline = time.monotonic() + seconds
        while not self.evaluate(expression):
            if time.monotonic() > deadline:
                text = self.evaluate("document.body.innerText")
                raise SystemExit(f"page: not within {seconds} s: {what}\n{text}\n{self.complaints}")
            time.sleep(0.2)

    def open(self, url, width, height):
        self.resize(width, height)
        self.call("Page.navigate", url=url)
        self.until("the page is there", f"location.href === {json.dumps(url)} && document.readyState === 'complete'", 20)

    def resize(self, width, height):
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def scheme(self, scheme):
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, path, last):
        """The page as wide as it is now, down to an element."""
        below = self.evaluate(f"[innerWidth, document.querySelector('{last}').getBoundingClientRect().bottom + scrollY + 14]")
        clip = {"x": 0, "y": 0, "width": below[0], "height": round(below[1]), "scale": 1}
        picture = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(picture))
