import json
import logging

import pytest

from shared import logs


def test_json_lines_carry_service_extra_and_request_id(capsys):
    logs.setup("server", "info", "json")
    token = logs.request_id.set("abc")
    logging.getLogger("x").info("planned %d", 3, extra={"planner": "dense"})
    logs.request_id.reset(token)
    entry = json.loads(capsys.readouterr().err)
    assert (entry["service"], entry["message"], entry["planner"], entry["request_id"]) == (
        "server",
        "planned 3",
        "dense",
        "abc",
    )
    assert entry["time"].endswith("+00:00")


def test_text_is_one_readable_line(capsys):
    logs.setup("server", "warning", "text")
    logging.getLogger("x").info("hidden")
    logging.getLogger("x").warning("seen", extra={"worker": "w1"})
    line = capsys.readouterr().err
    assert line.rstrip().endswith("seen worker=w1")
    assert "hidden" not in line


NASTY = "/x\n12:00:00 info    promoted dense\x1b[2K\r\x07\x9b\u2028\u202e\x00 status=200"


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_what_is_sent_makes_no_line_of_its_own(capsys, log_format):
    logs.setup("server", "info", log_format)
    logging.getLogger("x").info("GET %s 404", NASTY, extra={"path": NASTY})
    line = capsys.readouterr().err
    assert line.endswith("\n")
    assert line[:-1].isprintable()
    if log_format == "text":
        assert line.rstrip().endswith(' status=200"'), "one value, in quotes"


def test_a_traceback_makes_no_line_that_looks_like_another_record(capsys):
    logs.setup("server", "info", "text")
    try:
        raise ValueError(NASTY)
    except ValueError:
        logging.getLogger("x").exception("failed")
    first, *rest = capsys.readouterr().err.rstrip("\n").split("\n")
    assert "failed" in first
    assert rest
    assert all(line.startswith("  ") and line.isprintable() for line in rest)
