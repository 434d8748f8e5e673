"""A little of everything that the API does, until it is told to stop."""

import http.client
import itertools
import json
import threading
import time
import urllib.parse


class Load:
    """Threads that keep a service busy; `with` ends them."""

    def __init__(self, api, threads=3, pause=0.03):
        self.host = urllib.parse.urlsplit(api).netloc
        self.pause = pause
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(threads)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def _run(self, number):
        connection = http.client.HTTPConnection(self.host, timeout=10)

        def ask(method, path, body=None):
            if self.stop.wait(self.pause):
                raise StopIteration
            headers = {"content-type": "application/json"} if body is not None else {}
            try:
                connection.request(method, f"/api/v1/{path}", json.dumps(body) if body is not None else None, headers)
                answer = connection.getresponse()
                return json.loads(answer.read() or b"null")
            except (OSError, http.client.HTTPException, ValueError):
                # The service is being broken on purpose: the next request tries again.
                connection.close()
                return {}

        try:
            for turn in itertools.count():
                self._turn(ask, f"{number}-{turn}", turn)
        except StopIteration:
            connection.close()

    def _turn(self, ask, name, turn):
        entry = f"entry-{name}"
        ask("POST", "archive", {
            "archive_entry_id": entry, "service_name": "agent", "problem_statement": "solve the benchmark",
            "accuracy_score": 0.5 + turn % 40 / 100, "constitutional_compliance_score": 0.9,
        })
        for back in range(14):
            ask("GET", f"archive/{entry.rsplit('-', 1)[0]}-{max(0, turn - back % 5)}")
        ask("GET", f"archive/unknown-{name}")
        ask("GET", "archive?service=agent&limit=20")
        ask("GET", "archive/stats?service=agent")
        ask("GET", f"archive/{entry}/lineage")
        ask("POST", "archive:select-parents", {"service_name": "agent", "n": 2})
        ask("POST", "metrics", [
            {"service_name": "agent", "metric_type": "latency_seconds", "metric_value": 0.1 + n / 100} for n in range(20)
        ])
        ask("GET", "metrics/agent/current")
        for part in range(3 if turn % 4 == 3 else 2):
            ask("POST", "improvements", {
                "improvement_id": f"i-{name}-{part}", "service_name": "agent", "parent_entry_id": entry,
                "problem_statement": "handle long files", "priority": "high" if turn % 2 else "low",
            })
        claimed = ask("POST", "improvements:claim", {"worker": f"worker {name}", "max": 2})
        for item in claimed.get("items", []):
            path, lease = f"improvements/{item['improvement_id']}", {"lease_token": item["lease_token"]}
            ask("POST", f"{path}/heartbeat", lease)
            if turn % 6 == 5:
                ask("POST", f"{path}/fail", {**lease, "error_message": "no test passes", "retryable": False})
            else:
                ask("POST", f"{path}/complete", {**lease, "archive_entry": {
                    "archive_entry_id": f"of-{item['improvement_id']}", "accuracy_score": 0.7, "constitutional_compliance_score": 0.9,
                }})
        if turn % 4 == 3:
            ask("POST", f"improvements/i-{name}-2/cancel")


if __name__ == "__main__":
    import os

    with Load(os.environ["DGM_API"]):
        time.sleep(float(os.environ.get("SECONDS_OF_LOAD", "60")))
