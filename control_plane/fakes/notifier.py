"""A notifier that remembers whom it was told of."""

from control_plane.notifier import LocalNotifier


class RecordingNotifier(LocalNotifier):
    """The real one, and `told` in order."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def instance_changed(self, instance_id: str) -> None:
        self.told.append(instance_id)
        super().instance_changed(instance_id)
