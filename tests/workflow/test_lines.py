"""Lines are broken between words on a terminal, and nowhere else."""

import io

from rich.console import Console

from downslope.report.formatting import NO_BREAK
from downslope.workflow.lines import print_line, say

LINE = "learning rate 0.002 (chosen among 7 by a race), and more words"
PATH = "/a-folder/" + "with-a-long-name/" * 4 + "report.html"


def printed(*lines, terminal=True):
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=40, color_system=None)
    for line in lines:
        say(console, *line) if isinstance(line, tuple) else print_line(console, line)
    return file.getvalue().splitlines()


def test_a_terminal_gets_lines_that_fit_and_hang_under_their_label():
    lines = printed(("data", LINE), ("", LINE))
    assert max(map(len, lines)) <= 40
    assert [line[:9] for line in lines] == ["data     "] + [" " * 9] * (len(lines) - 1)
    assert " ".join(" ".join(lines).split()) == f"data {LINE} {LINE}"


def test_words_stay_whole():
    assert " ".join(printed(LINE)) == LINE
    assert f"         {PATH}" in printed(("report", PATH))
    assert f"0.002{NO_BREAK}s".replace(NO_BREAK, " ") in "\n".join(printed(f"{'x' * 35} 0.002{NO_BREAK}s"))


def test_a_file_gets_each_line_whole():
    assert printed(("data", LINE), LINE, terminal=False) == [f"data     {LINE}", LINE]
