"""A run folder in, one self-contained HTML page out.

contents.py     run folder → RunContents: plain files, checked
formatting.py   numbers as people read them
sentences.py    what the run means, in plain words
theme.py        colours for light and dark, one look for all figures
figures.py      the descent: cost, learning rate, gradient norm
results.py      the model: confusion matrix, predicted against actual, …
landscape.py    the ground around the weights, and the line between two runs (…_figures.py, …_files.py)
race.py         how the learning rate was chosen;  range_test.py  the curve of `find-lr`
comparison.py   the page of `compare` (…_figures.py, dimensions_figure.py)
notebook.py     a run in a notebook;  trail.py  the path of `minimize`
panels.py       figure + title + how to read it
tables.py       the same numbers as tables
page.py         everything → template.html.j2 → report.html
"""

from downslope.report.contents import RunContents, read_contents
from downslope.report.page import render_report, write_report

__all__ = ["RunContents", "read_contents", "render_report", "write_report"]
