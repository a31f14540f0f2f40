"""How patient, how wide and how deep a sender is: one frozen value, checked as a whole. Pure."""

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class SenderTuning:
    """
    What a sender may use and how long it waits; the defaults suit an exchange beside its EVS.

    Attributes:
        outbox_events_max: Events kept until durable, about 90 bytes each. More: a longer outage of EVS's database goes
            unnoticed. Less: less memory.
        batch_events_max: Events in one request, 1 to 2,000, which with the longest reasons still fit EVS's 1 MiB.
        batches_in_flight_max: Requests sent and not yet answered. More: the line stays full over a longer distance.
            Less: bigger batches.
        refusals_kept: Newest refusals kept for reading.
        open_deadline_s: How long opening may take; None: come up at once, and let events wait in the outbox.
        close_deadline_s: How long leaving waits for everything to be durable; None: leave at once.
        call_deadline_s: How long EVS may take for one ``GetIngestState``.
        answer_deadline_s: How long EVS may leave a batch unanswered before the line is taken for dead.
        backoff_first_s: Seconds before the second try to reach EVS, doubling from there.
        backoff_max_s: Longest pause between two tries.
    """

    outbox_events_max: int = 250_000
    batch_events_max: int = 2_000
    batches_in_flight_max: int = 4
    refusals_kept: int = 1_000
    open_deadline_s: float | None = 10.0
    close_deadline_s: float | None = 10.0
    call_deadline_s: float = 5.0
    answer_deadline_s: float = 30.0
    backoff_first_s: float = 0.1
    backoff_max_s: float = 5.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and value <= 0:
                raise ValueError(f"{field.name} {value} cannot be: expected more than 0")
        if self.batch_events_max > 2_000:
            raise ValueError(f"batch_events_max {self.batch_events_max} is above 2000: a request might exceed 1 MiB")
        if self.batch_events_max > self.outbox_events_max:
            raise ValueError(
                f"batch_events_max {self.batch_events_max} is above outbox_events_max {self.outbox_events_max}"
            )
