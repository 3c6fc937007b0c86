"""gazedx, the staged command line: config, runner, evaluate, report, predict."""

from . import guard as _guard

GAZEDX_VERSION = "0.1.0"

_guard.check_packages(GAZEDX_VERSION)
