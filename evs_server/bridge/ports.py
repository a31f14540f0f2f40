"""What a session needs of whoever runs it. Pure: types alone."""

from typing import Protocol


class Grant(Protocol):
    """What a good token gives."""

    @property
    def account_id(self) -> int:
        """The one account its bearer may see."""
        ...

    @property
    def valid_ms(self) -> int:
        """How long from now it is good for; zero or less within the leeway."""
        ...


class Door(Protocol):
    """Who may come in."""

    def verify(self, token: str) -> Grant:
        """
        What a token gives.

        Raises:
            Unauthenticated: If it is not good.
        """
        ...

    def admit(self, account_id: int) -> bool:
        """Let one more socket of an account in; False if it has too many."""
        ...

    def reserve(self, byte_count: int) -> bool:
        """Hold a large answer until it is taken; False if those of all sockets already fill the room."""
        ...

    def release(self) -> None:
        """Count all that this socket reserved as taken."""
        ...
