"""Every feature is a folder and a card, and can be left out without the others noticing."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import url_for

from microsite.app import FEATURES, known_features
from microsite.config import ConfigError
from tests.conftest import sign_in
from tests.contract.walk import SOURCE, UNSAFE, address, belongs_to, crawl, lists, page_token, populate, rules

NOT_FEATURES = {"core", "client", "cli", "migrations", "templates", "static", "__pycache__"}
KNOWN = {feature.name: feature for feature in known_features()}
OPTIONAL = [name for name, feature in KNOWN.items() if feature.can_be_off]
SELECTIONS = {f"without {name}": [name] for name in OPTIONAL}
SELECTIONS |= {f"only {name}": [other for other in OPTIONAL if other != name] for name in OPTIONAL}
SELECTIONS |= {"without all": OPTIONAL}


def test_every_folder_is_registered() -> None:
    folders = {path.name for path in SOURCE.iterdir() if path.is_dir()} - NOT_FEATURES
    assert folders == set(FEATURES), (
        "list every feature's folder in FEATURES of app.py, in the order of the navigation"
    )


@pytest.mark.parametrize("name", FEATURES)
def test_the_card_keeps_to_the_feature_s_name(name: str) -> None:
    feature = KNOWN[name]
    assert feature.bp.name == name, f"name the blueprint of {name} like its folder"
    assert feature.api is None or feature.api.name == name, (
        f"name the API blueprint of {name} like its folder"
    )
    assert feature.summary, f"say on the card of {name} what it is for"
    for entry in feature.nav:
        assert entry.endpoint.startswith(f"{name}."), (
            f"{name}: the navigation entry {entry.label} leads elsewhere"
        )
        assert entry.permission is None or entry.permission in feature.permissions, (
            f"{name}: the entry {entry.label} needs {entry.permission}, which is not on the card"
        )


def test_names_on_cards_are_given_once() -> None:
    for kind in ("settings", "tasks"):
        names = [item.name for feature in KNOWN.values() for item in getattr(feature, kind)]
        assert len(names) == len(set(names)), (
            f"two cards give the same name among their {kind}: {sorted(names)}"
        )
    permissions = [permission for feature in KNOWN.values() for permission in feature.permissions]
    assert len(permissions) == len(set(permissions)), (
        f"two cards give the same permission: {sorted(permissions)}"
    )


def test_the_house_needs_three_features_only() -> None:
    assert set(FEATURES) - set(OPTIONAL) == {"auth", "site", "errors"}, (
        "every other feature must be able to be off"
    )


@pytest.mark.parametrize("name", ["auth", "site", "errors", "nonsense"])
def test_what_cannot_be_off_is_refused_by_name(make_app: Callable[..., Any], name: str) -> None:
    with pytest.raises(ConfigError, match=f"FEATURES_OFF.*{name}"):
        make_app(FEATURES_OFF=name)


@pytest.mark.parametrize("selection", SELECTIONS)
def test_the_rest_works_without(
    make_app: Callable[..., Any], make_user: Callable[..., str], selection: str
) -> None:
    off = SELECTIONS[selection]
    whole = make_app()
    make_user("anna", application=whole)
    owner = whole.test_client()
    assert sign_in(owner, "anna").status_code == 303
    values = populate(
        owner, lambda name: make_user(name, application=whole)
    )  # what is left must bear these rows
    gone = [
        pair
        for pair in rules(whole, "GET", *sorted(UNSAFE))
        if any(belongs_to(KNOWN[n], pair[1].endpoint) for n in off)
    ]
    assert gone
    with whole.test_request_context():
        gone_entries = {url_for(entry.endpoint) for name in off for entry in KNOWN[name].nav}

    app = make_app(FEATURES_OFF=",".join(off))
    client = app.test_client()
    assert sign_in(client, "anna").status_code == 303
    headers = {"X-CSRFToken": page_token(client)}
    for method, rule in gone:
        assert rule.endpoint not in app.view_functions, (
            f"{rule.endpoint} is there although {selection} was asked for"
        )
        answer = client.open(address(rule, values), method=method, headers=headers)
        assert answer.status_code == 404, (
            f"{selection}: {method} {rule.rule} must answer 404, not {answer.status_code}"
        )

    registry = app.extensions["microsite"]
    for name in off:
        assert not {task.name for task in KNOWN[name].tasks} & set(registry.tasks), (
            f"tasks of {name} still run"
        )
        assert not set(KNOWN[name].permissions) & set(registry.permissions), (
            f"permissions of {name} are still given"
        )
    for path in ("/", *lists(app)):
        assert client.get(path).status_code < 400, f"{selection}: {path} fails"
    home = client.get("/")
    assert home.status_code == 200
    linked = set(re.findall(r'href="([^"]+)"', home.get_data(as_text=True)))
    assert not linked & gone_entries, f"{selection}: the home page still leads to {linked & gone_entries}"
    failed = {
        path: answer.status_code for path, answer in crawl(client, "/").items() if answer.status_code >= 400
    }
    assert not failed, (
        f"{selection}: pages lead to addresses that fail; ask for the capability first: {failed}"
    )
    with app.test_request_context():
        left = {url_for(entry.endpoint) for entry in registry.nav}
    for path in left:
        assert path in linked, f"{selection}: {path} is missing in the navigation"
        assert client.get(path).status_code == 200, f"{selection}: {path} fails"
    visitor = app.test_client()
    assert visitor.get("/").status_code == 200
