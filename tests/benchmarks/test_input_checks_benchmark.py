import re

from benchmarks import input_checks
from sim_worker.world.simulation.profiles import PROFILES


def test_every_profile_and_camera_is_looked_at_and_the_time_is_told(capsys):
    assert input_checks.main(["--scenes", "1"]) == 0
    *rows, time = capsys.readouterr().out.splitlines()
    assert len(rows) == len(PROFILES) * len(input_checks.CAMERAS)
    assert all(row.endswith("1 scenes, false alarms 0") for row in rows)
    assert re.match(r"640 x 480, \d+ inspections: CPU time, median \d+\.\d\d ms, 99 % below \d+\.\d\d ms$", time)


def test_what_is_told_of_a_scene_in_order_is_counted_and_fails(capsys, monkeypatch):
    monkeypatch.setattr(input_checks, "inspect_input", lambda *_: ["gravity: the table leans"])
    assert input_checks.main(["--scenes", "1"]) == 1
    assert "{'gravity': 4}" in capsys.readouterr().out
