"""
Every bound of the service, each with its reason, and the relations that must hold between them.

Lives here: numbers that refuse, cut off or size something. Not here: settings an operator may change (``config``).
Pure; imports nothing. The assertions at the end run at import: a bound that breaks another cannot start.
"""

from typing import Final

BP_PER_SHARE: Final = 10_000
"""One share in basis points; every notional is divided by it (DESIGN 2.1)."""

EXACT_MAX: Final = 2**53 - 1
"""Largest integer that JSON readers keep exactly: ids, ticks, sequences and every published amount stay within it."""

MONEY_CENTS_MAX: Final = EXACT_MAX
"""Largest magnitude of cash, net flow, realized, basis, equity, position value and unrealized of one account."""

PROFIT_CENTS_MAX: Final = 2**52 - 1
"""Largest magnitude of ``equity - net_flow``: the day change subtracts two of them and must stay within EXACT_MAX."""

PRICE_CENTS_MAX: Final = 10**12
"""Ten billion dollars a share. ``rest_bp * price`` of the split notional must fit into an int64."""

QUANTITY_BP_MAX: Final = EXACT_MAX
"""Largest magnitude of a trade and of a position."""

FEE_CENTS_MAX: Final = 10**12
"""Fee of one leg: as large as a price may be."""

TICK_TIME_MS_MAX: Final = 253_370_764_799_999
"""The last millisecond of the year 9998: Python's calendar still knows the sessions around it."""

POSITIONS_PER_ACCOUNT_MAX: Final = 4_096
"""Symbols one account may ever have held; bounds the sums that ``QUIET_*`` make safe."""

QUIET_MONEY_CENTS: Final = 2**50
"""An account whose cash, net flow and realized stay below this needs no exact check of its sums ..."""

QUIET_POSITION_CENTS: Final = 2**38
"""... as long as each of its positions is worth, and cost, less than this ($2.7 billion)."""

ACCOUNTS_MAX: Final = 5_000_000
"""Accounts in one process; beyond it new ones are refused as over capacity."""

SYMBOLS_MAX: Final = 1_000_000
"""Symbols in one process."""

SOURCE_BYTES_MAX: Final = 64
"""Length of a sender's name."""

SOURCES_MAX: Final = 1_024
"""Senders remembered; each may hold DIGESTS_KEPT digests of 8 bytes."""

DIGESTS_KEPT: Final = 65_536
"""Sequences per source whose content is remembered, to tell a repeat from a conflict (DESIGN 5)."""

UNDURABLE_EVENTS_MAX: Final = 10_000_000
"""Events of one source that may be applied and not durable: each is remembered (8 bytes) until it is."""

SETTLEMENTS_KEPT: Final = 262_144
"""Settlement ids of unsequenced callers that are remembered to recognise a retry; about 100 bytes each."""

MESSAGE_BYTES_MAX: Final = 2**20
"""Size of one gRPC message that is read; a larger one is refused before it is parsed."""

READER_MESSAGE_BYTES_MAX: Final = 16 * 2**10
"""The same where readers have a listener of their own: 1,000 account ids fit into it."""

METADATA_BYTES_MAX: Final = 8 * 2**10
"""Size of a call's metadata; a token has 4 KiB at most."""

READS_PER_SECOND: Final = 50
"""Calls a second of one reader that may only read its own account ..."""

READS_AT_ONCE: Final = 100
"""... and how many it may save up: a page that opens asks for several things at once."""

STREAMS_PER_READER: Final = 20
"""Streams at one time of such a reader: its tabs and devices, where no bridge shares one between them."""

READERS_REMEMBERED: Final = 100_000
"""Readers whose rate is kept, about 200 bytes each; beyond it the longest silent one starts anew."""

STREAMS_PER_CONNECTION_MAX: Final = 20_000
"""Calls at one time on one connection: whoever subscribes accounts one by one has one for each."""

CALLS_MAX: Final = 24_576
"""
Calls at one time at one address, streams and those that have yet to send their request included. gRPC reads that before
it can be told who calls, and holds 20 KB for each: whoever can connect can hold half a gigabyte, and no more.
"""

STUCK_READER_SECONDS: Final = 30
"""A reader whose connection has taken nothing for so long is cut off."""

LOADS_MAX: Final = 10_000
"""Unknown accounts being looked up at one time; a flood beyond it is told to slow down."""

REASON_BYTES_MAX: Final = 256
"""Length of the text on a flow."""

PARKED_EVENTS_MAX: Final = 100_000
"""Events waiting for their account to be read; beyond it the sender is told to slow down."""

NEWCOMER_MS: Final = 600_000
"""How long after its load an account's flows are held against the exchange's tables: no announcement takes longer."""

IMPORT_TRADES_MAX: Final = 10_000
"""Trades that the first import remembers by their id, in case they are announced only after it."""

CORRECTIONS_MAX: Final = 100
"""Accounts that one pass of reconciliation may correct; where more seem wrong, it is something else that is."""

DIFFERENCES_KEPT: Final = 10_000
"""Accounts whose differences from the exchange's tables are remembered; those beyond are counted."""

EXPLAINING_TRADES_MAX: Final = 1_000
"""Newest rows of ``trades`` among which the lost ones of an account are looked for."""

RECOMPUTED_ACCOUNTS_MAX: Final = 100
"""Accounts in one Recompute: each is read with all its trades."""

BATCH_EVENTS_MAX: Final = 65_536
"""Events in one StreamEventsRequest."""

SLICE_EVENTS: Final = 4_096
"""Events of one batch that are applied before others get a turn: about a millisecond."""

TICK_EVENTS: Final = 512
"""As how many of them a tick counts, which is a valuation and its rows."""

BATCH_ACCOUNTS_MAX: Final = 1_000
"""Accounts in one BatchGetEquity."""

LEADERBOARD_ENTRIES_MAX: Final = 1_000
"""Entries in one GetLeaderboard, each of which may need a name from the exchange's tables."""

HISTORY_POINTS_MAX: Final = 10_000
"""Points in one GetEquityHistory: about 400 KB."""

HISTORY_POINTS_DEFAULT: Final = 1_000
"""The same where the caller does not say."""

HISTORY_ROWS_MAX: Final = 32_768
"""Stored rows that one statement reads: a few hundredths of a second, and a sort within PostgreSQL's 4 MB of memory."""

HISTORY_SECONDS: Final = 2
"""How long to read for one page: whatever is complete by then is the page, and the next one goes on."""

WATCHED_ACCOUNTS_MAX: Final = 100_000
"""Accounts that one WatchEquity may follow one by one; who wants more follows all."""

WATCH_CHANGES_MAX: Final = 1_000
"""Accounts in one WatchEquityRequest, those to add and those to remove together."""

WATCH_UPDATES_MAX: Final = 500
"""Updates in one WatchEquityResponse: about 50 KB, and 3 ms of encoding before others get a turn."""

WATCH_ROWS_MAX: Final = 65_536
"""Rows of passes that wait for a reader of all accounts; beyond it that reader begins anew."""

VERSION_START_BITS: Final = 32
"""A process's versions begin at its start number shifted by this: 2**32 passes a start, 2**21 starts."""

CHECKPOINT_ROWS_PER_ACCOUNT: Final = 10
"""A checkpoint writes one row per account, so at this many rows per account it costs a tenth of them ..."""

CHECKPOINT_ROWS_MIN: Final = 100_000
"""... and never comes more often than this: so many rows are read in a fraction of a second."""

FLUSH_DELAY_MS: Final = 100
"""An event waits at most this long in memory before it is handed to the writer."""

TURN_ROWS: Final = 4_096
"""Rows of completed ticks that wait for the writer's turn, to be captured as one; more are captured on their own."""

PERCENT_E4_MAX: Final = 9_999_999_999
"""Day change in percent is clamped to +-999,999.9999, which NUMERIC(10,4) holds."""

assert BP_PER_SHARE * PRICE_CENTS_MAX < 2**63, "the rest of a split notional must not wrap"
assert MONEY_CENTS_MAX <= EXACT_MAX
assert 2 * PROFIT_CENTS_MAX <= EXACT_MAX, "a day change is the difference of two profits"
assert POSITIONS_PER_ACCOUNT_MAX * QUIET_POSITION_CENTS <= QUIET_MONEY_CENTS, "all quiet positions together are quiet"
assert 3 * QUIET_MONEY_CENTS <= PROFIT_CENTS_MAX, "cash, positions and net flow, all quiet, keep the profit in bounds"
assert 2 * QUIET_MONEY_CENTS <= MONEY_CENTS_MAX, "cash and positions, all quiet, keep the equity in bounds"
assert UNDURABLE_EVENTS_MAX > DIGESTS_KEPT > 0
assert 1_000 * (EXACT_MAX + 1) <= 2**63, "the long division of the percentage multiplies a remainder by 1,000"
