"""An improvement's lifecycle, and what else a loop calls, with a generated client.

Usage: lifecycle.py attrs|pydantic    (DGM_API: the service)
"""

import importlib
import io
import json
import os
import sys
import uuid
from datetime import datetime, timedelta, timezone


class Refused(Exception):
    """An answer that is a problem document."""

    def __init__(self, status, problem):
        super().__init__(status, problem)
        self.status, self.problem = status, problem


class Attrs:
    """Made by openapi-python-client."""

    def __init__(self, url):
        self.package = importlib.import_module("attrs_client")
        self.models = importlib.import_module("attrs_client.models")
        self.client = self.package.Client(base_url=url, raise_on_unexpected_status=True)

    def model(self, name, **fields):
        return getattr(self.models, name).from_dict(fields)

    def samples(self, samples):
        return samples

    def file(self, content):
        return importlib.import_module("attrs_client.types").File(payload=io.BytesIO(content))

    def content(self, answer):
        return answer.payload.read()

    def call(self, tag, operation, *place, body=None, **options):
        if body is not None:
            options["body"] = body
        function = importlib.import_module(f"attrs_client.api.{tag}.{operation}").sync_detailed
        answer = function(*place, client=self.client, **options)
        if answer.status_code >= 400:
            raise Refused(answer.status_code, answer.parsed)
        return answer.parsed

    def kind(self, problem):
        return problem.type_


class Pydantic:
    """Made by openapi-generator."""

    def __init__(self, url):
        self.package = self.models = importlib.import_module("pydantic_client")
        self.client = self.package.ApiClient(self.package.Configuration(host=url))

    def model(self, name, **fields):
        return getattr(self.models, name)(**fields)

    def samples(self, samples):
        return self.models.Samples(samples)

    def file(self, content):
        return content

    def content(self, answer):
        return bytes(answer)

    def call(self, tag, operation, *place, body=None, **options):
        if body is not None:
            place += (body,)
        try:
            return getattr(getattr(self.package, f"{tag.title()}Api")(self.client), operation)(*place, **options)
        except self.package.ApiException as error:
            raise Refused(error.status, error.data) from error

    def kind(self, problem):
        return problem.type


def equal(found, expected):
    assert found == expected, f"{found!r}, expected {expected!r}"


def events(client, text):
    """The events of a stream that has ended."""
    data = [line.removeprefix("data:") for line in text.splitlines() if line.startswith("data:")]
    return [client.models.Event.from_dict(json.loads(line)) for line in data]


def lifecycle(client):
    call, model = client.call, client.model
    name = f"clients-{type(client).__name__.lower()}"
    improvement_id, entry_id = f"{name}-improvement", f"{name}-entry"
    before = datetime.now(timezone.utc) - timedelta(minutes=1)
    equal(call("health", "health").status, "ok")
    equal(call("health", "ready").status, "ready")

    wish = model("NewImprovement", improvement_id=improvement_id, service_name=name, problem_statement="größer, schneller",
                 priority="high", performance_metrics={"latency": 1.5, "tags": ["a", None]})
    for _ in range(2):  # the repetition is answered 200
        made = call("improvements", "create_improvement", body=wish)
        equal((made.improvement_id, made.status, made.priority), (improvement_id, "queued", "high"))
    call("improvements", "create_improvement", body=model("NewImprovement", service_name=f"{name}-other", problem_statement="p"))

    [claimed] = call("improvements", "claim_improvements", body=model("Claim", worker="w", services=[name])).items
    equal((claimed.improvement_id, claimed.attempts, claimed.performance_metrics["latency"]), (improvement_id, 1, 1.5))
    lease = str(claimed.lease_token)
    beat = call("improvements", "heartbeat", improvement_id, body=model("Heartbeat", lease_token=lease, lease_seconds=120))
    assert beat.lease_expires_at > claimed.lease_expires_at, (beat, claimed)
    step = model("Progress", lease_token=lease, progress=40, message="forty")
    equal(call("improvements", "report_progress", improvement_id, body=step).progress, 40)
    try:
        call("improvements", "heartbeat", improvement_id, body=model("Heartbeat", lease_token=str(uuid.uuid4())))
        raise AssertionError("a heartbeat with another lease")
    except Refused as refused:
        equal((refused.status, client.kind(refused.problem)), (409, "urn:dgm:problem:lease-lost"))

    result = {"archive_entry_id": entry_id, "accuracy_score": 0.75, "constitutional_compliance_score": 1.0,
              "solution_patch": "+", "performance_metrics": {"latency": 1.25}}
    done = model("Completion", lease_token=lease, results={"seconds": 3}, archive_entry=result)
    ended = call("improvements", "complete_improvement", improvement_id, body=done)
    equal((ended.status, ended.archive_entry_id, ended.results["seconds"]), ("completed", entry_id, 3))

    entry = call("archive", "get_entry", entry_id)
    assert isinstance(entry, client.models.Entry), entry
    equal((entry.accuracy_score, entry.problem_statement, entry.status, entry.solution_patch, entry.performance_metrics["latency"]),
          (0.75, "größer, schneller", "active", "+", 1.25))
    patched = call("archive", "patch_entry", entry_id, body=model("EntryPatch", status="archived"), if_match="*")
    equal((patched.status, patched.version), ("archived", entry.version + 1))
    child = model("NewEntry", service_name=name, problem_statement="p", accuracy_score=0.5, constitutional_compliance_score=1,
                  parent_entry_id=entry_id, inspirations=[{"archive_entry_id": entry_id, "kind": "top_k"}])
    child_id = call("archive", "create_entry", body=child).archive_entry_id
    lineage = call("archive", "entry_lineage", child_id)
    equal([(item.archive_entry_id, item.depth) for item in lineage.items], [(child_id, 0), (entry_id, 1)])
    parents = call("archive", "select_parents", body=model("SelectParents", service_name=name, method="best"))
    equal([parent.archive_entry_id for parent in parents.parents], [child_id])

    # Pages, times in a URL, and the items' own type.
    page = call("archive", "list_entries", service=name, created_after=before, limit=1)
    equal(([item.archive_entry_id for item in page.items], type(page.items[0])), ([child_id], client.models.Summary))
    page = call("archive", "list_entries", service=name, created_after=before, limit=1, cursor=page.next_cursor)
    equal(([item.archive_entry_id for item in page.items], bool(page.next_cursor)), ([entry_id], False))
    found = call("improvements", "list_improvements", service=name, status=ended.status, created_after=before).items
    equal([(type(item), item.improvement_id) for item in found], [(client.models.Improvement, improvement_id)])
    stats = call("archive", "archive_stats", service=name)
    equal((stats.total, stats.by_status["archived"], stats.generations[0].count), (2, 1, 1))

    seen = events(client, call("improvements", "improvement_events", improvement_id))
    equal([event.event for event in seen], ["queued", "running", "progress", "completed"])
    rest = events(client, call("improvements", "improvement_events", improvement_id, last_event_id=seen[1].event_id))
    equal([event.event for event in rest], ["progress", "completed"])

    now = datetime.now(timezone.utc)
    samples = [model("NewSample", service_name=name, metric_type="latency", metric_value=value, measurement_timestamp=now.isoformat())
               for value in (1.5, 2.5)]
    equal(call("metrics", "ingest_metrics", body=client.samples(samples)).accepted, 2)
    one = model("NewSample", service_name=name, metric_type="cost", metric_value=3)
    equal(call("metrics", "ingest_metrics", body=client.samples(one)).accepted, 1)
    equal({item.metric_type for item in call("metrics", "current_metrics", name).items}, {"latency", "cost"})
    span = {"from_": before} if isinstance(client, Attrs) else {"var_from": before}
    series = call("metrics", "metric_range", name, "latency", to=now + timedelta(minutes=1), **span)
    equal(sum(point.count for point in series.points), 2)

    content = bytes(range(256)) * 4
    equal(call("archive", "put_artifact", entry_id, "log", body=client.file(content)).size_bytes, 1024)
    equal(client.content(call("archive", "get_artifact", entry_id, "log")), content)
    equal([item.name for item in call("archive", "list_artifacts", entry_id).items], ["log"])

    for operation in ("list_jobs", "list_partitions", "list_tokens"):
        call("admin", operation)
    ran = call("admin", "run_job", "rescue-leases")
    assert ran.outcome in ("success", "running"), ran
    call("admin", "list_job_runs", "rescue-leases")
    return f"{improvement_id}: completed, {len(seen)} events"


print(lifecycle({"attrs": Attrs, "pydantic": Pydantic}[sys.argv[1]](os.environ["DGM_API"])))
