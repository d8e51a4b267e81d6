"""The lab: gradient descent to play with, in the browser, on this machine alone (extra `lab`)."""
