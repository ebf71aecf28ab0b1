"""Who hears of an alert: one tree of routes, with several ways to reach people.

Secrets are never in these files: they name files that hold them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SECRETS = "/etc/alertmanager/secrets"
RETRAIN_ALERT = "CtrDriftPersists"
RETRAIN_QUANTITY = "predictions"
"""Retraining mends no latency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notifiers:
    """How the receivers reach somebody; without any, alerts show in Alertmanager's pages only."""

    page: Mapping[str, Any] = field(default_factory=dict)
    ticket: Mapping[str, Any] = field(default_factory=dict)
    retraining: Mapping[str, Any] | None = None
    """Told of drift that persists, beside the people; None where nothing retrains."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Global ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long Alertmanager waits before it says something."""

    group_wait: str = "10s"
    group_interval: str = "1m"
    repeat_page: str = "4h"
    repeat_ticket: str = "3d"


def alertmanager_config(notifiers: Notifiers, timing: Timing | None = None) -> dict[str, Any]:
    """Give a whole configuration."""
    timing = timing or Timing()
    return {
        **({"global": dict(notifiers.settings)} if notifiers.settings else {}),
        "route": {
            "receiver": "ticket",
            # One message a model, whatever is wrong with it.
            "group_by": ["job", "model"],
            "group_wait": timing.group_wait,
            "group_interval": timing.group_interval,
            "repeat_interval": timing.repeat_ticket,
            "routes": [
                *_retraining_route(notifiers),
                {
                    "receiver": "page",
                    "matchers": ['severity="page"'],
                    "repeat_interval": timing.repeat_page,
                },
                # The default would not do: it takes only what no other route has taken.
                {"receiver": "ticket"},
            ],
        },
        "inhibit_rules": list(_INHIBITIONS),
        "receivers": [
            {"name": "page", **notifiers.page},
            {"name": "ticket", **notifiers.ticket},
            *(
                []
                if notifiers.retraining is None
                else [{"name": "retraining", **notifiers.retraining}]
            ),
        ],
    }


def _retraining_route(notifiers: Notifiers) -> Sequence[dict[str, Any]]:
    if notifiers.retraining is None:
        return []
    return [
        {
            "receiver": "retraining",
            "matchers": [f'alertname="{RETRAIN_ALERT}"', f'quantity="{RETRAIN_QUANTITY}"'],
            # Again while the drift stands: the receiver knows when the next training is due.
            "repeat_interval": "1h",
            "continue": True,
        }
    ]


_INHIBITIONS = (
    {
        # The same budget burning fast and slowly is one problem.
        "source_matchers": ['severity="page"'],
        "target_matchers": ['severity="ticket"'],
        "equal": ["alertname", "job", "model"],
    },
    {
        "source_matchers": ['alertname="CtrServiceGone"'],
        "target_matchers": ['alertname="CtrTargetDown"'],
        "equal": ["job"],
    },
    {
        # Who judges the models also passes on what the bridge says.
        "source_matchers": ['alertname="CtrEvaluationStopped"'],
        "target_matchers": ['alertname=~"CtrBridge.*"'],
        "equal": ["job", "instance"],
    },
)

_TITLE = "{{ .Status | toUpper }}: {{ .CommonLabels.model }} {{ len .Alerts }} alert(s)"
_TEXT = (
    "{{ range .Alerts }}{{ .Annotations.summary }}\n{{ .Annotations.description }}\n"
    "{{ .Annotations.runbook_url }}\n{{ end }}"
)


def _slack(channel: str) -> dict[str, Any]:
    message = {"channel": channel, "send_resolved": True, "title": _TITLE, "text": _TEXT}
    return {"slack_configs": [message]}


def _email(address: str) -> dict[str, Any]:
    return {"email_configs": [{"to": address, "send_resolved": True}]}


def webhook(url: str, **options: object) -> dict[str, Any]:
    """Post to a URL, also what has resolved."""
    return {"webhook_configs": [{"url": url, "send_resolved": True, **options}]}


PAGES_ONLY = Notifiers()
SLACK = Notifiers(
    page=_slack("#ctr-pages"),
    ticket=_slack("#ctr-tickets"),
    settings={"slack_api_url_file": f"{SECRETS}/slack_url"},
)
EMAIL = Notifiers(
    page=_email("ctr-on-call@example.com"),
    ticket=_email("ctr-team@example.com"),
    settings={
        "smtp_smarthost": "smtp.example.com:587",
        "smtp_from": "alertmanager@example.com",
        "smtp_auth_username": "alertmanager@example.com",
        "smtp_auth_password_file": f"{SECRETS}/smtp_password",
    },
)
RETRAINING = Notifiers(
    retraining=webhook(
        "http://127.0.0.1:9095/retrain",
        http_config={"authorization": {"credentials_file": f"{SECRETS}/retraining_token"}},
    ),
)
