-- What a tick does, as one statement: every account that holds a symbol with a new price is recomputed, and what comes of
-- it is its newest snapshot from then on, as in EVS.
--   $1 symbols, $2 their new prices. Division of bigint cuts toward zero, as EVS does.
WITH valued AS (
  SELECT
    a.account_id,
    a.cash_cents + sum(p.quantity_bp * m.price_cents / 10000)::bigint AS total_equity,
    a.cash_cents AS cash_balance,
    sum(p.quantity_bp * m.price_cents / 10000)::bigint AS position_value,
    (a.cash_cents + sum(p.quantity_bp * m.price_cents / 10000) - a.base_cents)::bigint AS day_change,
    CASE WHEN a.base_cents > 0
      THEN round((a.cash_cents + sum(p.quantity_bp * m.price_cents / 10000) - a.base_cents) * 100 / a.base_cents, 4)
      ELSE 0 END AS day_change_percent,
    sum(p.quantity_bp * m.price_cents / 10000 - p.basis_cents)::bigint AS unrealized_pnl
  FROM account AS a
  JOIN position AS p USING (account_id)
  JOIN (
    SELECT symbol_id, coalesce(moved.price_cents, mark.price_cents) AS price_cents
    FROM mark LEFT JOIN unnest($1::bigint[], $2::bigint[]) AS moved (symbol_id, price_cents) USING (symbol_id)
  ) AS m USING (symbol_id)
  WHERE a.account_id IN (SELECT account_id FROM position WHERE symbol_id = ANY ($1))
  GROUP BY a.account_id
)
UPDATE latest SET
  total_equity = valued.total_equity,
  cash_balance = valued.cash_balance,
  position_value = valued.position_value,
  day_change = valued.day_change,
  day_change_percent = valued.day_change_percent,
  unrealized_pnl = valued.unrealized_pnl
FROM valued
WHERE latest.account_id = valued.account_id
RETURNING valued.*
