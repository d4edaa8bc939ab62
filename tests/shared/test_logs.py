import json
import logging

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
