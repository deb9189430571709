"""``python -m alfred_voice`` is the console script ``alfred-voice``."""

import sys

from alfred_voice.cli import main


sys.exit(main())
