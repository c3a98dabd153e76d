"""What a schema can't say: how to make what is right of our formats, and which fields contradict each other."""

import itertools
import json
from datetime import datetime, timedelta, timezone

import schemathesis
from hypothesis import strategies

numbers = itertools.count()

PATHS = ["/", "/orders/1042", "/a?b=c#d", "/ñandú"]
PICTURES = ["https://example.org/icon.png", "http://localhost:8000", "https://[::1]/", *PATHS]


def time(minutes):
    """A time that is still to come, near enough to be accepted."""
    at = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(minutes=minutes)
    return at.isoformat().replace("+00:00", "Z")


schemathesis.openapi.format("date-time", strategies.integers(60, 500_000).map(time))
schemathesis.openapi.format("picture", strategies.sampled_from(PICTURES))
schemathesis.openapi.format("link", strategies.sampled_from(["mailto:ana@example.org", "HTTPS://EXAMPLE.ORG", *PICTURES]))
# Limits are bytes, and a character has four at most.
words = strategies.characters(exclude_categories=["C", "Z"], exclude_characters="\ufeff")
schemathesis.openapi.format("name", strategies.text(words, min_size=1, max_size=30))
schemathesis.openapi.format("line", strategies.text(words, min_size=1, max_size=16))
schemathesis.openapi.format("period", strategies.sampled_from(["1s", "90s", "1h", "2h 30m", "1day", "30d"]))


def forget_patterns(schema):
    """Takes away the patterns of the formats above, which are only a part of what is asked of a value."""
    if isinstance(schema, dict):
        if schema.get("format") in ("picture", "link", "period"):
            schema.pop("pattern", None)
        schema = list(schema.values())
    if isinstance(schema, list):
        for value in schema:
            forget_patterns(value)


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Lets values of those formats be made as said here, everywhere."""
    forget_patterns(raw_schema)


@schemathesis.hook
def before_call(context, case, kwargs):
    """
    Lets what is right be so. A time to expire is to come, is said once, and lies after the time to deliver. A mark that
    says `null` everywhere says nothing. A key that comes again gets the answer of before, also if what it made is gone.
    """
    if not case.meta or not case.meta.generation.mode.is_positive:
        return
    if case.headers and "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = f"key {next(numbers)}"
    if case.operation.path.startswith("/v1/inbox/") and isinstance(case.body, dict):
        mark = case.body.get("set", case.body)
        if mark and all(value is None for value in mark.values()) and "muted" not in mark and "up_to" not in mark:
            mark["read"] = True
    for notification in case.body if isinstance(case.body, list) else [case.body]:
        if isinstance(notification, dict) and notification.get("expires_at"):
            notification["expires_at"] = time(60)
            for other in ("deliver_at", "expires_in"):
                notification.pop(other, None)


@schemathesis.serializer("application/x-ndjson")
def lines(context, value):
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else json.dumps(value).encode()
