"""A real Chromium, spoken to over two pipes in its own protocol; nothing else is needed."""

import json
import os
import select
import subprocess
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_PATIENCE_SECONDS = 60.0


class Tab:
    """One open page, and what it has complained of."""

    def __init__(self, send: int, receive: int) -> None:
        self._send, self._receive = send, receive
        self._buffer = b""
        self._session: str | None = None
        self._number = 0
        self.complaints: list[str] = []
        """Errors and warnings of the console, uncaught exceptions, and violated policies."""
        self.requested: list[str] = []
        """URLs in the order in which they were asked for."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """Ask the browser to do something and give its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                found: dict[str, Any] = answer["result"]
                return found

    def open(self, url: str) -> None:
        """Go to a page; returns once it has loaded."""
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete'", what=f"{url} has loaded")

    def size(self, width: int, height: int, *, phone: bool = False) -> None:
        """Give the window a size in CSS pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=phone,
        )

    def theme(self, name: str) -> None:
        """Prefer light or dark, as the system's settings would."""
        feature = {"name": "prefers-color-scheme", "value": name}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def value(self, script: str) -> Any:  # noqa: ANN401 - whatever the script gives
        """Evaluate JavaScript in the page."""
        answer = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def text(self, selector: str) -> str:
        """Text of an element, as it is read; empty where there is none."""
        found = self.value(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")
        return str(found)

    def until(self, script: str, *, what: str, seconds: float = _PATIENCE_SECONDS) -> None:
        """Wait until JavaScript is true in the page."""
        deadline = time.monotonic() + seconds
        while not self.value(f"Boolean({script})"):
            assert time.monotonic() < deadline, f"waited {seconds:g} s in vain: {what}"
            time.sleep(0.1)

    def press(self, key: str) -> None:
        """Press and release a key, such as Tab."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=9
            )

    def picture(self, file: Path, *, whole: bool = False) -> None:
        """Photograph the window, or the whole page."""
        taken = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        file.write_bytes(b64decode(taken["data"]))

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            told, _, _ = select.select([self._receive], [], [], _PATIENCE_SECONDS)
            assert told, f"Chromium has said nothing for {_PATIENCE_SECONDS:g} s"
            received = os.read(self._receive, 1 << 20)
            assert received, "Chromium has gone"
            self._buffer += received
        raw, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(raw)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, told: dict[str, Any]) -> None:
        match method:
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(told["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if told["type"] in {"error", "warning", "assert"}:
                self.complaints.append(json.dumps(told["args"]))
            case "Log.entryAdded" if told["entry"]["level"] in {"error", "warning"}:
                entry = told["entry"]
                self.complaints.append(f"{entry['text']} {entry.get('url', '')}")
            case "Network.requestWillBeSent":
                self.requested.append(told["request"]["url"])


@contextmanager
def running_chromium(program: str, folder: Path) -> Iterator[Callable[[], Tab]]:
    """Start the browser with a fresh profile; gives what opens its one tab."""
    to_browser, from_us = os.pipe()
    to_us, from_browser = os.pipe()
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    quiet = ["--no-first-run", "--disable-background-networking", "--disable-extensions"]
    command = [program, *flags, *quiet, f"--user-data-dir={folder}", "--remote-debugging-pipe"]
    # The browser reads from its descriptor 3 and writes to 4. Bash: sh knows one digit only.
    shell = ["bash", "-c", f'exec "$@" 3<&{to_browser} 4>&{from_browser}', "bash", *command]
    with (folder.parent / "chromium.log").open("w") as log:
        process = subprocess.Popen(
            shell, pass_fds=(to_browser, from_browser), stdout=log, stderr=log
        )
    os.close(to_browser)
    os.close(from_browser)
    try:
        yield lambda: Tab(from_us, to_us)
    finally:
        os.close(from_us)  # It ends when nobody is there to tell it anything.
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        os.close(to_us)
