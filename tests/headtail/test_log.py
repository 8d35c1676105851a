"""Lines for people and for machines: one each, whatever they are made of."""

import json
import logging
import sys

import pytest

from headtail.log import JsonFormatter, TextFormatter, configure, report, request_id


def record(text: str, *values: object, exc_info=None) -> logging.LogRecord:
    """Return a record of a warning at a known time."""
    made = logging.LogRecord("fog", logging.WARNING, "", 0, text, values, exc_info)
    made.created, made.msecs = 1_700_000_000.25, 250.0
    return made


@pytest.fixture
def raised():
    """Return what `exc_info` holds of an error whose text breaks lines."""
    try:
        raise KeyError("a\nb")
    except KeyError:
        return sys.exc_info()


def test_text_is_time_severity_module_and_message():
    line = TextFormatter().format(record("%d streams", 3))
    assert line.endswith(" WARNING fog: 3 streams")


def test_json_is_one_object_a_line_with_the_time_in_utc():
    assert {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "warning",
        "logger": "fog",
        "message": "3 streams",
    } == json.loads(JsonFormatter().format(record("%d streams", 3)))


@pytest.mark.parametrize("hostile", ["a\nb", "a\r\x1b[2Jb", "a\u2028b", "a\x85b"])
def test_what_a_client_sent_makes_no_line_of_its_own(hostile):
    """Nor does it drive the terminal."""
    text = TextFormatter().format(record("model '%s'", hostile))
    assert 1 == len(text.splitlines())
    assert "\x1b" not in text
    line = JsonFormatter().format(record("model '%s'", hostile))
    assert 1 == len(line.split("\n"))
    assert f"model '{hostile}'" == json.loads(line)["message"]


def test_traceback_follows_indented_or_in_its_own_field(raised):
    first, *rest = TextFormatter().format(record("failed", exc_info=raised)).splitlines()
    assert first.endswith("fog: failed")
    assert rest
    assert all(line.startswith("  | ") for line in rest)
    fields = json.loads(JsonFormatter().format(record("failed", exc_info=raised)))
    assert "failed" == fields["message"]
    assert fields["traceback"].startswith("Traceback")


def test_request_id_stands_in_every_line_of_its_request():
    token = request_id.set("17\n")
    try:
        text = TextFormatter().format(record("x"))
        fields = json.loads(JsonFormatter().format(record("x")))
    finally:
        request_id.reset(token)
    assert text.endswith(r"fog: x [request 17\n]")
    assert "17\n" == fields["request_id"]
    assert "request" not in TextFormatter().format(record("x"))


def test_file_name_that_is_no_unicode_is_logged_all_the_same():
    line = JsonFormatter().format(record("%s", "a\udcffb"))
    assert "a\\udcffb" == json.loads(line)["message"]


@pytest.mark.parametrize("form", ["text", "json"])
def test_configured_log_goes_to_standard_error(form, capsys):
    configure("warning", form)
    logging.getLogger("a").info("no")
    logging.getLogger("a").warning("yes")
    (line,) = capsys.readouterr().err.splitlines()
    assert "yes" == (json.loads(line)["message"] if form == "json" else line.split(": ")[1])


def test_error_that_nobody_foresaw_is_an_object_too(raised, capsys):
    configure("info", "json")
    sys.excepthook(*raised)
    fields = json.loads(capsys.readouterr().err)
    assert ("critical", "ended by KeyError") == (fields["level"], fields["message"])
    assert fields["traceback"].startswith("Traceback")


def test_last_words_are_one_line_in_either_form(capsys):
    report(ValueError("x: wrong"), "text")
    report(ValueError("x: wrong"), "json")
    text, line = capsys.readouterr().err.splitlines()
    assert "error: x: wrong" == text
    fields = json.loads(line)
    assert ("error", "x: wrong") == (fields["level"], fields["message"])
