"""Starts a node by its name. Its modules take seconds to import: Ctrl-C ends those without a trace, too."""

from __future__ import annotations

import importlib
import signal


def run(name: str) -> None:
    """Import the module ``name`` of this package, and run its node until it is told to stop."""
    try:
        main = importlib.import_module(f"gsc_ros.nodes.{name}").main
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return
    main()
