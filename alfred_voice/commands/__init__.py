"""One file for each sub-command of ``alfred-voice``."""
