-- What reconciliation reads of the exchange's tables. Columns are named and cast, since the real ones have other widths.

-- name: ledger_accounts
SELECT id::bigint, coalesce(currency_balance, 0)::bigint AS cash_cents FROM accounts WHERE id = ANY($1::bigint[]);

-- name: ledger_positions
SELECT account_id::bigint, symbol_id::bigint, sum(quantity)::bigint AS quantity_bp
FROM positions
WHERE account_id = ANY($1::bigint[])
GROUP BY account_id, symbol_id
HAVING sum(quantity) <> 0;
