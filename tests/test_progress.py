"""In a log file a progress bar is lines."""

import io
import sys

from captionrl.progress import progress


def test_a_log_gets_whole_lines_and_the_last_says_all(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    assert list(progress(range(7), title="rendering", unit="clip")) == list(range(7))
    assert "\r" not in log.getvalue()
    lines = log.getvalue().split("\n")
    assert lines.pop() == ""
    assert all(line.startswith("rendering: ") for line in lines)
    assert "7/7" in lines[-1]
    assert len(lines) <= 3  # a fast loop does not flood the log


def test_a_log_gets_no_line_twice(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    with progress(total=3, title="rendering", unit="clip") as bar:
        bar.refresh()
    lines = log.getvalue().splitlines()
    assert len(lines) == len(set(lines)) == 1
    assert "0/3" in lines[0]
