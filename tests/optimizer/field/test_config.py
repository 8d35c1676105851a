"""Section [field] of a recipe: what it may say."""

import msgspec
import pytest

from optimizer.recipe.field import FieldConfig


def read(**values: object) -> FieldConfig:
    """Return the section with these keys."""
    return msgspec.convert(values, FieldConfig)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("5m", 300), ("1h", 3600), ("31d", 31 * 86400)]
)
def test_range_is_a_number_with_a_unit(text: str, seconds: int) -> None:
    assert seconds == read(range=text).range_s


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1:9090", "https://p.example/prom", "http://[::1]:9"]
)
def test_address_of_a_server(url: str) -> None:
    assert url == read(prometheus=url).prometheus


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"range": "1w"}, "matching regex"),
        ({"range": "0h"}, "matching regex"),
        ({"range": "32d"}, "range must be at most 31d, received '32d'"),
        ({"prometheus": "10.0.0.1:9090"}, "must be http://HOST:PORT"),
        ({"prometheus": "file:///etc/passwd"}, "must be http://HOST:PORT"),
        ({"prometheus": "http://"}, "must be http://HOST:PORT"),
        ({"prometheus": "http://h:99999"}, "must be http://HOST:PORT"),
        ({"prometheus": "http://[::1"}, "must be http://HOST:PORT"),
        ({"prometheus": "http://h:1/\nX"}, "must be http://HOST:PORT"),
        ({"prometheus": "http://me:secret@h:1"}, "neither user nor query"),
        ({"prometheus": "http://h:1/?a=b"}, "neither user nor query"),
        ({"matchers": {"model": "x"}}, "'model' is no label that may be named here"),
        ({"matchers": {'a="b"} or up{c': "x"}}, "is no label that may be named here"),
        ({"min_windows": 0}, "Expected `int` >= 1"),
        ({"labels": "/srv/labels"}, "captured is missing"),
        ({"sed": 1}, "unknown field `sed`"),
    ],
)
def test_a_broken_rule_is_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=message):
        read(**values)
