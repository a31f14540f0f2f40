#!/bin/sh
# The contract by hand. EVS_SERVER says where EVS is (127.0.0.1:50051).
#
# grpcurl asks EVS itself what it understands (reflection), in development; elsewhere give it
# -import-path proto -proto evs/v1/evs.proto, -cacert instead of -plaintext, and -H "authorization: Bearer $TOKEN".
set -eu
server=${EVS_SERVER:-127.0.0.1:50051}

# Both legs of a trade that the exchange has settled: 100 shares at $50.00. 1 share = 10,000 bp, money in cents.
grpcurl -plaintext -d '{"account_id": 1, "symbol_id": 9002, "side": "TRADE_SIDE_BUY",
  "quantity_bp": 1000000, "price_cents": 5000, "settlement_id": 900000001}' \
  "$server" evs.v1.EquityValuationService/OnTradeSettled
grpcurl -plaintext -d '{"account_id": 2, "symbol_id": 9002, "side": "TRADE_SIDE_SELL",
  "quantity_bp": 1000000, "price_cents": 5000, "settlement_id": 900000002}' \
  "$server" evs.v1.EquityValuationService/OnTradeSettled

# Sent once more: "duplicate", and nothing changes. The settlement_id makes it safe to try again.
grpcurl -plaintext -d '{"account_id": 1, "symbol_id": 9002, "side": "TRADE_SIDE_BUY",
  "quantity_bp": 1000000, "price_cents": 5000, "settlement_id": 900000001}' \
  "$server" evs.v1.EquityValuationService/OnTradeSettled

# The price rises to $60.00; with the end of the tick every account that it touches is valued, once.
grpcurl -plaintext -d '{"symbol_id": 9002, "price_cents": 6000}' "$server" evs.v1.EquityValuationService/OnPriceUpdated
grpcurl -plaintext -d '{"tick_id": 1}' "$server" evs.v1.EquityValuationService/OnTickComplete

# What came of it: the equity, the positions it is made of, the chart, the return, and the ranking.
grpcurl -plaintext -d '{"account_id": 1}' "$server" evs.v1.EquityValuationService/GetEquity
grpcurl -plaintext -d '{"account_id": 1}' "$server" evs.v1.EquityValuationService/ListPositions
grpcurl -plaintext -d '{"account_ids": [1, 2, 999999999]}' "$server" evs.v1.EquityValuationService/BatchGetEquity
grpcurl -plaintext -d '{"account_id": 1, "range": "HISTORY_RANGE_ONE_DAY", "resolution": "RESOLUTION_ONE_MINUTE"}' \
  "$server" evs.v1.EquityValuationService/GetEquityHistory
grpcurl -plaintext -d '{"account_id": 1, "range": "HISTORY_RANGE_ONE_DAY"}' \
  "$server" evs.v1.EquityValuationService/GetPerformance
grpcurl -plaintext -d '{"limit": 3, "account_id": 1}' "$server" evs.v1.EquityValuationService/GetLeaderboard

# Whether EVS is ready; and from now on every change, until Ctrl-C.
grpcurl -plaintext "$server" grpc.health.v1.Health/Check
exec grpcurl -plaintext -d '{"account_id": 1}' "$server" evs.v1.EquityValuationService/SubscribeEquity
