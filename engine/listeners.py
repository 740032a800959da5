"""Who hears of a job under way. `batch.progress.Listener` receives figures, a `LineListener` receives lines."""

from collections.abc import Callable

# Receives one line for people, without its line break.
LineListener = Callable[[str], None]
