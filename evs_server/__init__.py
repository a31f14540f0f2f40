"""The Equity Valuation Service: values every account of a fantasy exchange once per tick, to the cent."""
