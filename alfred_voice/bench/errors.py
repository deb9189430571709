"""What can go wrong in a benchmark.

* :exc:`BenchmarkFailed`: it could not be run to its end, so that there are no figures.

  * :exc:`DaemonFailed`: the daemon under test did not start, or did not leave as it should.

* :exc:`PackageMissing`: it needs a package of the extra ``bench``.
"""

from __future__ import annotations

from alfred_voice.errors import AlfredVoiceError, Fault


class BenchmarkFailed(AlfredVoiceError):
    """A benchmark could not be run to its end."""

    code = "benchmark_failed"
    fault = Fault.SERVER


class DaemonFailed(BenchmarkFailed):
    """The daemon under test did not start, or did not leave as it should."""

    code = "daemon_failed"


class PackageMissing(AlfredVoiceError):
    """Something needs a package that comes with the extra ``bench``."""

    code = "package_missing"
    fault = Fault.MACHINE
